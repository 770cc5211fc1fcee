// Command load asks one address for one document, again and again, over kept connections, and
// prints how long that took as JSON.
//
// It speaks just enough HTTP/1.1 for that, so that its own core is never what is measured. At a
// steady rate each answer's time counts from when its request was due, so a server that stalls is
// charged for everybody whom it kept waiting.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience is how long one answer may take.
const patience = 10 * time.Second

type headers []string

func (h *headers) String() string     { return strings.Join(*h, ", ") }
func (h *headers) Set(s string) error { *h = append(*h, s); return nil }

// plan is what to ask, by how many, how often and for how long.
type plan struct {
	address     string
	request     []byte
	expect      []byte
	connections int
	rate        float64
	warmUp      time.Duration
	duration    time.Duration
}

// report is what is printed; times are in microseconds.
type report struct {
	Requests int     `json:"requests"`
	Failures int     `json:"failures"`
	Failure  string  `json:"failure,omitempty"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Max      float64 `json:"max_us"`
}

// tally is what one connection has seen.
type tally struct {
	times   []time.Duration
	failure error
}

func main() {
	found, err := run(read())
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}

func read() plan {
	var sent headers
	address := flag.String("address", "", "host:port of the server")
	path := flag.String("path", "/", "what to GET")
	expect := flag.String("expect", "", "what every answer must contain")
	connections := flag.Int("connections", 1, "connections, each with one request at a time")
	rate := flag.Float64("rate", 0, "requests a second over all connections; 0: as many as can be")
	warmUp := flag.Duration("warm-up", 500*time.Millisecond, "how long before anything counts")
	duration := flag.Duration("duration", 3*time.Second, "how long it counts")
	flag.Var(&sent, "header", "a header line, as often as needed")
	flag.Parse()
	var request bytes.Buffer
	fmt.Fprintf(&request, "GET %s HTTP/1.1\r\nHost: %s\r\n", *path, *address)
	for _, line := range sent {
		fmt.Fprintf(&request, "%s\r\n", line)
	}
	request.WriteString("\r\n")
	return plan{*address, request.Bytes(), []byte(*expect), *connections, *rate, *warmUp, *duration}
}

func run(p plan) (report, error) {
	if p.connections < 1 {
		return report{}, errors.New("-connections must be 1 or more")
	}
	tallies := make([]tally, p.connections)
	starts := time.Now()
	counts := starts.Add(p.warmUp)
	ends := counts.Add(p.duration)
	var all sync.WaitGroup
	for number := range p.connections {
		all.Go(func() { tallies[number] = ask(p, number, starts, counts, ends) })
	}
	all.Wait()
	return sum(tallies, time.Since(counts)), nil
}

// ask keeps one connection busy, or at its share of the rate, until it ends or fails.
func ask(p plan, number int, starts, counts, ends time.Time) tally {
	connection, err := net.Dial("tcp", p.address)
	if err != nil {
		return tally{failure: err}
	}
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 64*1024)
	seen := tally{times: make([]time.Duration, 0, 1<<16)}
	for turn := 0; ; turn++ {
		due := time.Now()
		if p.rate > 0 {
			nth := float64(number + turn*p.connections)
			due = starts.Add(time.Duration(nth / p.rate * float64(time.Second)))
			time.Sleep(time.Until(due))
		}
		if due.After(ends) {
			return seen
		}
		if err := once(p, connection, reader); err != nil {
			seen.failure = err
			return seen
		}
		if due.After(counts) {
			seen.times = append(seen.times, time.Since(due))
		}
	}
}

// once sends the request and reads the whole answer.
func once(p plan, connection net.Conn, reader *bufio.Reader) error {
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := connection.Write(p.request); err != nil {
		return err
	}
	status, err := reader.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200 ") {
		return fmt.Errorf("answered %q", strings.TrimSpace(status))
	}
	length, err := contentLength(reader)
	if err != nil {
		return err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(reader, body); err != nil {
		return err
	}
	if !bytes.Contains(body, p.expect) {
		return fmt.Errorf("an answer of %d bytes lacks %q", length, p.expect)
	}
	return nil
}

// contentLength reads the header block and finds the body's length in it.
func contentLength(reader *bufio.Reader) (int, error) {
	length := -1
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return 0, err
		}
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("an answer has no Content-Length")
	}
	return length, nil
}

func sum(tallies []tally, took time.Duration) report {
	var times []time.Duration
	found := report{Seconds: took.Seconds()}
	for _, one := range tallies {
		times = append(times, one.times...)
		if one.failure != nil {
			found.Failures++
			found.Failure = one.failure.Error()
		}
	}
	found.Requests = len(times)
	if len(times) == 0 {
		return found
	}
	slices.Sort(times)
	found.P50 = micros(times[len(times)/2])
	found.P99 = micros(times[len(times)*99/100])
	found.Max = micros(times[len(times)-1])
	return found
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
