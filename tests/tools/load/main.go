// Command load asks one address for one document, again and again, over kept connections, and
// prints how long that took as JSON. It gets the document, or posts another for it, over TLS if told
// whom to trust.
//
// It speaks just enough HTTP/1.1 for that, so that its own core is never what is measured. At a
// steady rate a request that had to wait for the answer before it counts from when it was due, so
// a server that stalls is charged for everybody whom it kept waiting.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
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
	trust       *x509.CertPool
	request     []byte
	expect      []byte
	connections int
	rate        float64
	warmUp      time.Duration
	duration    time.Duration
}

// report is what is printed; times are in microseconds, and asked has the warm-up in it.
type report struct {
	Asked    int     `json:"asked"`
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
	asked   int
	times   []time.Duration
	failure error
}

func main() {
	asked, err := read()
	var found report
	if err == nil {
		found, err = run(asked)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}

func read() (plan, error) {
	var sent headers
	address := flag.String("address", "", "host:port of the server")
	path := flag.String("path", "/", "what to ask for")
	body := flag.String("body", "", "file that is posted; without one, the request is a GET")
	authority := flag.String("ca", "", "PEM file to verify TLS by; without one, there is no TLS")
	expect := flag.String("expect", "", "what every answer must contain")
	connections := flag.Int("connections", 1, "connections, each with one request at a time")
	rate := flag.Float64("rate", 0, "requests a second over all connections; 0: as many as can be")
	warmUp := flag.Duration("warm-up", 500*time.Millisecond, "how long before anything counts")
	duration := flag.Duration("duration", 3*time.Second, "how long it counts")
	flag.Var(&sent, "header", "a header line, as often as needed")
	flag.Parse()
	request, err := written(*path, *address, *body, sent)
	if err != nil {
		return plan{}, err
	}
	trust, err := trusted(*authority)
	if err != nil {
		return plan{}, err
	}
	return plan{
		*address, trust, request, []byte(*expect), *connections, *rate, *warmUp, *duration,
	}, nil
}

// written is the request, head and body, as it goes out each time.
func written(path, address, file string, lines headers) ([]byte, error) {
	method, content := "GET", []byte(nil)
	if file != "" {
		var err error
		if content, err = os.ReadFile(file); err != nil {
			return nil, err
		}
		method, lines = "POST", append(lines, fmt.Sprintf("Content-Length: %d", len(content)))
	}
	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, address)
	for _, line := range lines {
		fmt.Fprintf(&request, "%s\r\n", line)
	}
	request.WriteString("\r\n")
	request.Write(content)
	return request.Bytes(), nil
}

func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
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
	var line kept
	defer line.close()
	seen := tally{times: make([]time.Duration, 0, 1<<16)}
	for turn := 0; ; turn++ {
		due := time.Now()
		if p.rate > 0 {
			nth := float64(number + turn*p.connections)
			due = starts.Add(time.Duration(nth / p.rate * float64(time.Second)))
			if early := time.Until(due); early > 0 {
				// Sleeping too long is our own fault, and charged to nobody.
				time.Sleep(early)
				due = time.Now()
			}
		}
		if due.After(ends) {
			return seen
		}
		if seen.failure = line.once(p); seen.failure != nil {
			return seen
		}
		seen.asked++
		if due.After(counts) {
			seen.times = append(seen.times, time.Since(due))
		}
	}
}

// kept is a connection that is made when needed, and again after the server has ended it: a
// server may bound how many requests one connection brings, and its clients pay for the next.
type kept struct {
	connection net.Conn
	reader     *bufio.Reader
}

func (k *kept) close() {
	if k.connection != nil {
		k.connection.Close()
		k.connection = nil
	}
}

func (k *kept) open(address string, trust *x509.CertPool) error {
	if k.connection != nil {
		return nil
	}
	connection, err := dialed(address, trust)
	if err == nil {
		k.connection, k.reader = connection, bufio.NewReaderSize(connection, 64*1024)
	}
	return err
}

func dialed(address string, trust *x509.CertPool) (net.Conn, error) {
	plain := &net.Dialer{Timeout: patience}
	if trust == nil {
		return plain.Dial("tcp", address)
	}
	return tls.DialWithDialer(plain, "tcp", address, &tls.Config{RootCAs: trust})
}

// once sends the request and reads the whole answer.
func (k *kept) once(p plan) error {
	if err := k.open(p.address, p.trust); err != nil {
		return err
	}
	if err := k.connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := k.connection.Write(p.request); err != nil {
		return err
	}
	head, err := readHead(k.reader)
	if err != nil {
		return err
	}
	body := make([]byte, head.length)
	if _, err := io.ReadFull(k.reader, body); err != nil {
		return err
	}
	if !bytes.Contains(body, p.expect) {
		return fmt.Errorf("an answer of %d bytes lacks %q", head.length, p.expect)
	}
	if head.last {
		k.close()
	}
	return nil
}

// head is what matters of an answer's head: how long its body is, and whether it is the last.
type head struct {
	length int
	last   bool
}

// readHead reads status line and header block; any status but 200 is an error.
func readHead(reader *bufio.Reader) (head, error) {
	status, err := reader.ReadString('\n')
	if err != nil {
		return head{}, err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200 ") {
		return head{}, fmt.Errorf("answered %q", strings.TrimSpace(status))
	}
	found := head{length: -1}
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return head{}, err
		}
		name, value, isHeader := strings.Cut(strings.TrimSpace(line), ":")
		if !isHeader {
			break
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-length":
			if found.length, err = strconv.Atoi(value); err != nil {
				return head{}, err
			}
		case "connection":
			found.last = strings.EqualFold(value, "close")
		}
	}
	if found.length < 0 {
		return head{}, errors.New("an answer has no Content-Length")
	}
	return found, nil
}

func sum(tallies []tally, took time.Duration) report {
	var times []time.Duration
	found := report{Seconds: took.Seconds()}
	for _, one := range tallies {
		times = append(times, one.times...)
		found.Asked += one.asked
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
