// Promql reads scrapes and queries as JSON, and prints what Prometheus' own parser, store and
// engine make of them: a Prometheus of an afternoon, in a second.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
)

// A scrape is what a program said at a time, in milliseconds, and the labels of where it was asked.
type scrape struct {
	At     int64             `json:"at"`
	Labels map[string]string `json:"labels"`
	Text   string            `json:"text"`
}

// What to do: all queries over one range, in milliseconds.
type task struct {
	Scrapes []scrape `json:"scrapes"`
	Queries []string `json:"queries"`
	Start   int64    `json:"start"`
	End     int64    `json:"end"`
	Step    int64    `json:"step"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked task
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "promql-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	db, err := tsdb.Open(folder, nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, one := range asked.Scrapes {
		if err := store(db, one); err != nil {
			return fmt.Errorf("scrape of %v: %w", one.Labels, err)
		}
	}
	found, err := evaluate(db, asked)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func store(db *tsdb.DB, said scrape) error {
	appender := db.Appender(context.Background())
	parser := textparse.NewPromParser([]byte(said.Text), labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return appender.Commit()
		}
		if err != nil {
			return errors.Join(err, appender.Rollback())
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var metric labels.Labels
		parser.Labels(&metric)
		builder := labels.NewBuilder(metric)
		for name, value := range said.Labels {
			builder.Set(name, value)
		}
		_, _, value := parser.Series()
		if _, err := appender.Append(0, builder.Labels(), said.At, value); err != nil {
			return errors.Join(err, appender.Rollback())
		}
	}
}

func evaluate(db *tsdb.DB, asked task) ([]promql.Matrix, error) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute})
	defer engine.Close()
	var found []promql.Matrix
	for _, text := range asked.Queries {
		query, err := engine.NewRangeQuery(context.Background(), db, nil, text,
			time.UnixMilli(asked.Start), time.UnixMilli(asked.End),
			time.Duration(asked.Step)*time.Millisecond)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		result := query.Exec(context.Background())
		matrix, err := result.Matrix()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		found = append(found, matrix)
	}
	return found, nil
}
