// The AWS SDK for Go v2, with its default chain; tests/clients/protocol.py says how it is spoken to.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

type ask func(context.Context) (map[string]string, error)

func newClient(ctx context.Context) (ask, error) {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	client := sts.NewFromConfig(loaded, func(options *sts.Options) {
		options.BaseEndpoint = aws.String(os.Getenv("STS_URL"))
	})
	return func(ctx context.Context) (map[string]string, error) {
		identity, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return nil, err
		}
		credentials, err := loaded.Credentials.Retrieve(ctx)
		if err != nil {
			return nil, err
		}
		return map[string]string{"key": credentials.AccessKeyID, "arn": *identity.Arn}, nil
	}, nil
}

func answer(ctx context.Context, word string, kept *ask) (map[string]string, error) {
	if word == "anew" || *kept == nil {
		made, err := newClient(ctx)
		if err != nil {
			return nil, err
		}
		*kept = made
	}
	return (*kept)(ctx)
}

func main() {
	tell := json.NewEncoder(os.Stdout)
	_ = tell.Encode(map[string]string{"client": fmt.Sprintf("Go v2 %s", aws.SDKVersion)})
	var kept ask
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		told, err := answer(context.Background(), strings.TrimSpace(lines.Text()), &kept)
		if err != nil {
			told = map[string]string{"error": err.Error()}
		}
		_ = tell.Encode(told)
	}
}
