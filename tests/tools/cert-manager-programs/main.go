// cert-manager's controller and CA injector, as one program with a word for each.
//
//	tested controller|cainjector [--kubeconfig FILE] [--flags of cert-manager's own name]
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

var programs = map[string]func(context.Context, []string) error{
	"controller": runController,
	"cainjector": runInjector,
}

func main() {
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: tested controller|cainjector [FLAGS]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx = logr.NewContext(ctx, klog.Background())
	if err := programs[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
