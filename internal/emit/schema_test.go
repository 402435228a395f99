package emit

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"apm-ebpf/internal/filter"
)

const schemaFile = "../../docs/protocol.schema.json"

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(schema *jsonschema.Schema, line []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func TestRecordsFollowTheSchema(t *testing.T) {
	schema := compileSchema(t)
	for name, r := range records() {
		t.Run(name, func(t *testing.T) {
			line := new(Encoder).Append(nil, r)
			if err := validate(schema, line); err != nil {
				t.Errorf("%v\n%s", err, line)
			}
		})
	}
}

// TestSchemaIsStrict breaks a good record in one place at a time.
func TestSchemaIsStrict(t *testing.T) {
	schema := compileSchema(t)
	tests := []struct{ name, old, new string }{
		{"field added on top", `{"version"`, `{"extra":1,"version"`},
		{"field missing", `"protocol":"HTTP/1.1",`, ``},
		{"field added to a frame", `"line_no":12`, `"line_no":12,"extra":1`},
		{"field missing from a frame", `"depth":2`, `"line_no":12`},
		{"depth in a tree", `"depth":0`, `"depth":0,"children":[]`},
		{"text for a number", `"time":0.100082`, `"time":"0.100082"`},
		{"unknown reason", `"blocked":{"sleep"`, `"blocked":{"slumber"`},
		{"bad trace id", `"trace_id":"6f`, `"trace_id":"xx`},
		{"second out of range", `"req_time":1764000000`, `"req_time":4294967296`},
		{"stacktrace half there", `"sample_count":27,`, ``},
		{"version", `"version":"1.0.0"`, `"version":"(devel)"`},
	}
	good := exampleLine(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := bytes.Replace(good, []byte(tt.old), []byte(tt.new), 1)
			if bytes.Equal(bad, good) {
				t.Fatal("nothing was broken")
			}
			if validate(schema, bad) == nil {
				t.Errorf("accepted %s", bad)
			}
		})
	}
	more := bytes.Replace(good, []byte(`"request":{`), []byte(`"request":{"extra":{"any":1},`), 1)
	if err := validate(schema, more); err != nil {
		t.Errorf("an additional field in request was refused: %v", err)
	}
}

func TestSchemaNamesTheSameReasons(t *testing.T) {
	schema := compileSchema(t)
	r := example()
	r.Blocked = &Blocked{}
	for i := range r.Blocked {
		r.Blocked[i] = int64(i + 1)
	}
	r.Incomplete = 1<<len(incompleteNames) - 1
	line := new(Encoder).Append(nil, r)
	if err := validate(schema, line); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Request struct {
			Blocked    map[string]float64
			Incomplete []string
		}
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Request.Blocked) != int(reasons) || len(got.Request.Incomplete) != len(incompleteNames) {
		t.Errorf("record tells %v", got.Request)
	}
}

// records has a record of every form.
func records() map[string]*Record {
	several := example()
	several.Profile.Mapper = filter.Tree
	single := example()
	single.Profile.Mapper, single.Profile.Frames = filter.Tree, filter.Tree.Map(nil, single.Profile.Frames)
	several.Profile.Frames = several.Profile.Frames[1:3]
	unsampled := example()
	unsampled.Profile, unsampled.Blocked = nil, nil
	nothing := example()
	nothing.Profile.Frames = nil
	nothingNested := example()
	nothingNested.Profile.Mapper, nothingNested.Profile.Frames = filter.Tree, nil
	bare := &Record{
		Protocol: "HTTP/1.0", TraceID: "0123456789abcdefABCDEF9876543210", BytesIn: -1, BytesOut: -1,
		Incomplete: NoResponse | AgentStopped, Lost: 3,
	}
	lines := example()
	lines.Profile.Frames[2].Lines = []filter.LineTime{{Line: 13, Time: 124_000_999}, {Line: 14, Time: 999}}
	lines.Profile.Frames[3].Lines = []filter.LineTime{}
	return map[string]*Record{
		"list": example(), "tree": single, "forest": several, "unsampled": unsampled, "all filtered": nothing,
		"all filtered from the tree": nothingNested, "bare": bare, "lines": lines,
	}
}
