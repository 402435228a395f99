package filter

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFilters(t *testing.T) {
	app := Frame{File: "/srv/shop/cart.py", Time: 100_000_000, App: true}
	venv := Frame{File: "/srv/shop/venv/lib/python3.11/site-packages/flask/app.py", Time: 200_000_000}
	stdlib := Frame{File: "/usr/lib/python3.11/socket.py", Time: 1_000}
	neighbour := Frame{File: "/srv/shop2/cart.py", App: true}
	relative := Frame{File: "views/a.py", App: true}
	frozen := Frame{File: "<frozen importlib._bootstrap>"}
	comma := Frame{File: "/srv/a,b/c=d.py", App: true}
	root := Frame{Time: 300_000_000}
	all := []*Frame{&app, &venv, &stdlib, &neighbour, &relative, &frozen, &comma, &root}

	tests := []struct {
		text, dir string
		want      []*Frame
	}{
		{"threshold-time=0", "", []*Frame{&app, &venv, &stdlib, &root}},
		{"threshold-time=0.1", "", []*Frame{&venv, &root}},
		{"threshold-time=1e-1", "", []*Frame{&venv, &root}},
		{" threshold-time = 0.099999 ", "", []*Frame{&app, &venv, &root}},
		{"threshold-time=1e300", "", nil},
		{"app-only", "/srv/shop", []*Frame{&app, &relative}},
		{"app-only", "/srv/shop/", []*Frame{&app, &relative}},
		{"app-only", "/srv", []*Frame{&app, &neighbour, &relative, &comma}},
		{"app-only", "/", []*Frame{&app, &neighbour, &relative, &comma}},
		{"app-only", "", []*Frame{&app, &neighbour, &relative, &comma}},
		{"app-only=/srv/shop", "/", []*Frame{&app, &venv}},
		{"app-only=/srv/shop/", "/", []*Frame{&app, &venv}},
		{"app-only=/srv/./x/../shop//", "/", []*Frame{&app, &venv}},
		{"app-only=/srv/shop/cart.py", "/", []*Frame{&app}},
		{"app-only=shop", "/srv", []*Frame{&app, &venv}},
		{"app-only=views", "/srv/shop", []*Frame{&relative}},
		{"app-only=.", "/srv/shop", []*Frame{&app, &venv, &relative}},
		{"app-only=/", "/srv", []*Frame{&app, &venv, &stdlib, &neighbour, &relative, &comma}},
		{"app-only=/srv/a,b", "", []*Frame{&comma}},
		{"module-path=shop/", "", []*Frame{&app, &venv}},
		{"module-path=a,b/c=d", "", []*Frame{&comma}},
		{"module-path= shop", "", nil},
		{"not-include=/srv", "", []*Frame{&stdlib, &relative, &frozen, &root}},
		{"not-include=,", "", []*Frame{&app, &venv, &stdlib, &neighbour, &relative, &frozen, &root}},
	}
	for _, tt := range tests {
		t.Run(tt.text+" in "+tt.dir, func(t *testing.T) {
			spec, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			keep := spec.Bind(Env{Dir: tt.dir})
			var got []string
			for _, f := range all {
				if keep(f) {
					got = append(got, f.File)
				}
			}
			if strings.Join(got, " ") != strings.Join(files(tt.want), " ") {
				t.Errorf("kept %q, want %q", got, files(tt.want))
			}
		})
	}
}

func files(frames []*Frame) []string {
	var names []string
	for _, f := range frames {
		names = append(names, f.File)
	}
	return names
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", `is empty; named filters are `},
		{"  ", `is empty; named filters are `},
		{"threshold-time", `"threshold-time" at character 1: needs a value, as in threshold-time=0.01`},
		{"threshold-time=", `"threshold-time" at character 1: needs a value`},
		{"threshold-time=abc", `"abc" at character 16: is no number of seconds`},
		{"threshold-time=time", `"time" at character 16: is no number of seconds`},
		{"threshold-time=-1", `"-1" at character 16: `},
		{"threshold-time=NaN", `"NaN" at character 16: `},
		{"threshold-time=Inf", `"Inf" at character 16: `},
		{"threshold-time=1e999", `"1e999" at character 16: `},
		{"threshold-time=0,5", `"0,5" at character 16: `},
		{"threshold-time=5ms", `"5ms" at character 16: `},
		{"app-only=", `"app-only" at character 1: needs a value, as in app-only=/srv/app`},
		{"module-path", `"module-path" at character 1: needs a value`},
		{"not-include=", `"not-include" at character 1: needs a value`},
		{" treshold-time=1", `"treshold-time" at character 2: is no filter; named filters are threshold-time=SECONDS, `},
		{"app_only", `"app_only" at character 1: is no filter; `},
		{"time > 0.1", `"> 0.1" at character 6: expressions are not supported by this build; named filters are `},
		{"status==200", `"==200" at character 7: expressions are not supported`},
		{"threshold-time==1", `"==1" at character 15: expressions are not supported`},
		{"app-only && time > 1", `"&& time > 1" at character 10: expressions are not supported`},
		{")))((", `")))((" at character 1: expressions are not supported`},
		{"имя", `"имя" at character 1: expressions are not supported`},
		{"a\nb", `"\nb" at character 2: expressions are not supported`},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			spec, err := Parse(tt.text)
			if err == nil {
				t.Fatalf("accepted as %q", spec)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is\n\t%s\nwithout\n\t%s", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"threshold-time=0.1", "app-only", "app-only=/srv", "module-path=a,b", "not-include=x", "time > 1", "=", "\xff=\n"} {
		f.Add(seed, "/srv", "/srv/a.py")
	}
	f.Fuzz(func(t *testing.T, text, dir, file string) {
		spec, err := Parse(text)
		if err != nil {
			if msg := err.Error(); strings.ContainsAny(msg, "\n\r") || !utf8.ValidString(msg) {
				t.Errorf("error is not one clean line: %q", msg)
			}
			return
		}
		if spec.String() != text {
			t.Errorf("%q tells its text as %q", text, spec)
		}
		keep := spec.Bind(Env{Dir: dir})
		frame := Frame{File: file, Time: 1, App: true}
		first := keep(&frame)
		if keep(&frame) != first {
			t.Error("the same frame is kept once and dropped once")
		}
	})
}

// A service that was started in a link to its directory tells its files by the link's name.
func TestAppOnlyByAnotherName(t *testing.T) {
	spec, err := Parse("app-only")
	if err != nil {
		t.Fatal(err)
	}
	keep := spec.Bind(Env{Dir: "/srv/releases/42", Same: []string{"/srv/current"}})
	for file, want := range map[string]bool{
		"/srv/releases/42/shop.py": true,
		"/srv/current/shop.py":     true,
		"shop.py":                  true,
		"/srv/releases/41/shop.py": false,
	} {
		if got := keep(&Frame{File: file, App: true}); got != want {
			t.Errorf("%s: kept %t, want %t", file, got, want)
		}
	}
}

func TestFiltersDoNotAllocate(t *testing.T) {
	frame := &Frame{File: "/srv/shop/cart.py", Time: 1_000_000, App: true}
	for _, text := range []string{"threshold-time=0.0001", "app-only", "app-only=/srv", "module-path=shop", "not-include=x"} {
		spec, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		keep := spec.Bind(Env{Dir: "/srv/shop", Same: []string{"/srv/current"}})
		if n := testing.AllocsPerRun(100, func() { keep(frame) }); n != 0 {
			t.Errorf("%s allocates %v times a frame", text, n)
		}
	}
}
