package emit

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"apm-ebpf/internal/filter"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// example is the record that the protocol shows.
func example() *Record {
	cart := filter.Frame{File: "/srv/shop/cart.py", ShortFile: "shop/cart.py", Line: 12, App: true}
	sleep, runqueue, load := cart, cart, cart
	sleep.Function, sleep.Time, sleep.Depth = "[sleep]", 100_082_000, 2
	runqueue.Function, runqueue.Time, runqueue.Depth = "[runqueue]", 506_000, 2
	load.Function, load.Time, load.Depth = "load", 124_900_000, 1
	module := filter.Frame{
		Function: "<module>", File: "/srv/venv/bin/gunicorn", ShortFile: "gunicorn", Line: 1, Time: 125_301_000,
	}
	return &Record{
		ProcName: "shop", Services: "127.0.0.1:8000", Protocol: "HTTP/1.1", Endpoint: "/cart",
		TraceID: "6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10",
		Start:   1764000000_123456_000, Duration: 125_301_000,
		Profile: &Profile{
			CPUTime: 24_713_000, SampleCount: 27,
			Program: "/srv/venv/bin/python /srv/venv/bin/gunicorn shop:app",
			Frames:  []*filter.Frame{&sleep, &runqueue, &load, &module},
		},
		Method: "GET", Host: "shop.example", Status: 200, Client: netip.MustParseAddrPort("127.0.0.1:50122"), PID: 4242, TID: 4242,
		Runtime: "cpython 3.11.2", ClientTime: "1764000000", BytesIn: 312, BytesOut: 1490,
		Blocked: &Blocked{Sleep: 100_082_000, RunQueue: 506_000},
	}
}

func exampleLine(t *testing.T) []byte {
	t.Helper()
	line, err := os.ReadFile("testdata/protocol.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestProtocolExample is never rewritten by -update: the file is the protocol's own text.
func TestProtocolExample(t *testing.T) {
	encoder := Encoder{Version: "1.0.0"}
	if got := encoder.Append(nil, example()); !bytes.Equal(got, exampleLine(t)) {
		t.Errorf("encoded\n%s", got)
	}
}

func TestGolden(t *testing.T) {
	encoder := Encoder{Version: "1.0.0"}
	all := records()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			got := encoder.Append(nil, all[name])
			file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_")+".jsonl")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	var encoder Encoder
	first := encoder.Append([]byte("before"), example())
	if second := encoder.Append(first, example()); !bytes.HasPrefix(second, first) || bytes.Count(second, []byte("\n")) != 2 {
		t.Errorf("appended %q", second)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	var encoder Encoder
	for name, r := range records() {
		r.Incomplete, r.Endpoint = ClientClosed, "/\x00\xff\"é"
		buf := encoder.Append(nil, r)
		if n := testing.AllocsPerRun(100, func() { buf = encoder.Append(buf[:0], r) }); n != 0 {
			t.Errorf("%s: %v allocations a record", name, n)
		}
	}
}

func TestSeconds(t *testing.T) {
	tests := []struct {
		ns   int64
		want string
	}{
		{0, "0.000000"}, {999, "0.000000"}, {1000, "0.000001"}, {999_999_999, "0.999999"}, {1e9, "1.000000"},
		{-1, "0.000000"}, {math.MinInt64, "0.000000"}, {math.MaxInt64, "9223372036.854775"},
	}
	for _, tt := range tests {
		if got := string(appendSeconds(nil, tt.ns)); got != tt.want {
			t.Errorf("%d ns became %s, want %s", tt.ns, got, tt.want)
		}
	}
}

func TestPartsNeverExceedTheWhole(t *testing.T) {
	third := int64(333_333)
	r := &Record{Duration: 3*third + 1, Profile: &Profile{}, Blocked: &Blocked{}}
	for i := range 3 {
		r.Profile.Frames = append(r.Profile.Frames, &filter.Frame{Time: third, Depth: 1})
		r.Blocked[i] = third
	}
	r.Profile.Frames = append(r.Profile.Frames, &filter.Frame{Time: r.Duration})
	var got struct {
		Stacktrace struct {
			Duration  json.Number
			RootFrame []struct{ Time json.Number } `json:"root_frame"`
		}
	}
	if err := json.Unmarshal(new(Encoder).Append(nil, r), &got); err != nil {
		t.Fatal(err)
	}
	frames := got.Stacktrace.RootFrame
	if frames[0].Time != "0.000333" || frames[3].Time != "0.001000" || got.Stacktrace.Duration != "0.001000" {
		t.Errorf("record tells %+v", got)
	}
}

func TestUnixSecondsWrapLikeU32(t *testing.T) {
	r := &Record{Start: math.MaxUint64, Duration: -5}
	if line := new(Encoder).Append(nil, r); !json.Valid(line) {
		t.Errorf("not JSON: %s", line)
	}
}

func TestEscapes(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `""`},
		{`a"b\c/d<e>&`, `"a\"b\\c/d<e>&"`},
		{"\x00\x1f\b\f\n\r\t\x7f", `"\u0000\u001f\u0008\u000c\n\r\t\u007f"`},
		{"\u009b31m", `"\u009b31m"`},
		{"é漢😀\u00a0", `"é漢😀` + "\u00a0" + `"`},
		{"\xff\xfe", `"` + "\ufffd\ufffd" + `"`},
		{"a\xe6\xbc", `"a` + "\ufffd\ufffd" + `"`},
		{"\xed\xa0\x80", `"` + "\ufffd\ufffd\ufffd" + `"`},
		{"\ufffd", `"` + "\ufffd" + `"`},
	}
	for _, tt := range tests {
		if got := string(appendString(nil, tt.in)); got != tt.want {
			t.Errorf("%q became %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzAppend puts hostile text into every field that takes any, and reads it back with encoding/json.
func FuzzAppend(f *testing.F) {
	f.Add("/cart", "load", int64(125_301_000), 12)
	f.Add("\x00\"\\\xff\u2028", "\x9b\n", int64(-1), -7)
	f.Fuzz(func(t *testing.T, a, b string, ns int64, n int) {
		frame := &filter.Frame{
			Function: a, File: b, ShortFile: a, Line: n, Time: ns, Depth: n,
			Lines: []filter.LineTime{{Line: n, Time: ns}},
		}
		nested := *frame
		nested.Children = []*filter.Frame{frame, frame}
		r := &Record{
			ProcName: a, Services: b, Protocol: a, Endpoint: b, TraceID: a, Start: uint64(ns), Duration: ns,
			Method: b, Host: a, Status: n, Client: netip.AddrPortFrom(netip.IPv6LinkLocalAllNodes().WithZone("eth0"), uint16(n)), PID: n, TID: n, Runtime: a, ClientTime: b, TraceParent: a,
			BytesIn: ns, BytesOut: ns, Blocked: &Blocked{GIL: ns}, Lost: uint64(ns), Incomplete: Incomplete(n),
			Profile: &Profile{CPUTime: ns, SampleCount: n, Program: b, Frames: []*filter.Frame{frame, &nested}},
		}
		for _, mapper := range []filter.Mapper{filter.List, filter.Tree} {
			r.Profile.Mapper = mapper
			line := (&Encoder{Version: a}).Append(nil, r)
			if i := bytes.IndexByte(line, '\n'); i != len(line)-1 {
				t.Fatalf("newline within the line: %q", line)
			}
			var got struct {
				Version, Endpoint string
				Stacktrace        struct {
					Program   string
					RootFrame []struct {
						Function string
						File     string `json:"file_path"`
					} `json:"root_frame"`
				}
			}
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			a, b := string([]rune(a)), string([]rune(b))
			first := got.Stacktrace.RootFrame[0]
			if got.Version != a && a != "" || got.Endpoint != b || got.Stacktrace.Program != b || first.Function != a || first.File != b {
				t.Errorf("%q, %q were read as %+v", a, b, got)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	var encoder Encoder
	r := example()
	var buf []byte
	for b.Loop() {
		buf = encoder.Append(buf[:0], r)
	}
	b.SetBytes(int64(len(buf)))
}
