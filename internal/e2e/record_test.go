package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Record is one line of the agent's output.
type Record struct {
	Version    string     `json:"version"`
	ProcName   string     `json:"proc_name"`
	Services   string     `json:"services"`
	Protocol   string     `json:"protocol"`
	Endpoint   string     `json:"endpoint"`
	Stacktrace Stacktrace `json:"stacktrace"`
	Apitrace   struct {
		TraceID  string `json:"trace_id"`
		ReqTime  int64  `json:"req_time"`
		RespTime int64  `json:"resp_time"`
	} `json:"apitrace"`
	Request struct {
		Method     string             `json:"method"`
		Host       string             `json:"host"`
		Status     int                `json:"status"`
		Duration   float64            `json:"duration"`
		Client     string             `json:"client"`
		PID        int                `json:"pid"`
		TID        int                `json:"tid"`
		Runtime    string             `json:"runtime"`
		ClientTime string             `json:"client_time"`
		BytesIn    int                `json:"bytes_in"`
		BytesOut   int                `json:"bytes_out"`
		Blocked    map[string]float64 `json:"blocked"`
		Lost       int                `json:"lost"`
		Incomplete []string           `json:"incomplete"`
	} `json:"request"`

	raw string
}

// Stacktrace is empty where the request was not sampled.
type Stacktrace struct {
	StartTime   float64         `json:"start_time"`
	Duration    float64         `json:"duration"`
	CPUTime     float64         `json:"cpu_time"`
	SampleCount int             `json:"sample_count"`
	Program     string          `json:"program"`
	RootFrame   json.RawMessage `json:"root_frame"`
}

func (r *Record) sampled() bool { return r.Stacktrace.RootFrame != nil }

// incomplete tells whether the record names a reason for which it tells less than the whole.
func (r *Record) incomplete(why string) bool {
	for _, reason := range r.Request.Incomplete {
		if reason == why {
			return true
		}
	}
	return false
}

func (r *Record) String() string {
	return fmt.Sprintf("%s %s %d %.6f s %v", r.Request.Method, r.Endpoint, r.Request.Status, r.Request.Duration, r.Request.Incomplete)
}

func summaries(records []*Record) string {
	var text strings.Builder
	for _, r := range records {
		fmt.Fprintln(&text, r)
	}
	return text.String()
}

// schema is the published one.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile("../../docs/protocol.schema.json")
})

// parseRecords reads lines and holds each against the schema.
func parseRecords(t testing.TB, lines []byte) (records []*Record) {
	t.Helper()
	rules, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(lines) {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatalf("not a line of JSON: %v: %.300q", err, line)
		}
		if err := rules.Validate(value); err != nil {
			t.Fatalf("%v: %.2000s", err, line)
		}
		r := &Record{raw: string(line)}
		if err := json.Unmarshal(line, r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// byID finds each record by its trace ID, which must be its own.
func byID(t testing.TB, records []*Record) map[string]*Record {
	t.Helper()
	found := map[string]*Record{}
	for _, r := range records {
		if other := found[r.Apitrace.TraceID]; other != nil {
			t.Fatalf("two records of one request:\n%s%s", other.raw, r.raw)
		}
		found[r.Apitrace.TraceID] = r
	}
	return found
}
