package filter

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Filter tells whether a frame is kept. It has no state, so several goroutines may share one.
type Filter func(*Frame) bool

// Env is what a filter needs to know of the process whose frames it sees.
type Env struct {
	Dir  string   // working directory as the process sees it; empty where it could not be read
	Same []string // other names of it, as files may have them
}

// Spec is a filter that was parsed but not yet bound to a process.
type Spec struct {
	text string
	bind func(Env) Filter
}

// Names lists the named filters in the form in which they are written.
const Names = "threshold-time=SECONDS, app-only, app-only=ROOT, module-path=TEXT, not-include=TEXT"

// Parse reads one filter. The value of a named filter is everything after its first equals sign, commas and spaces
// included. An error is one line that quotes what is wrong and tells where in the text it stands, but does not repeat
// the whole text.
func Parse(text string) (*Spec, error) {
	bind, err := parse(text)
	if err != nil {
		return nil, err.in(text)
	}
	return &Spec{text: text, bind: bind}, nil
}

// String returns the filter as it was written.
func (s *Spec) String() string { return s.text }

// Bind makes the filter for the frames of one process.
func (s *Spec) Bind(env Env) Filter { return s.bind(env) }

// Bind makes the filters for the frames of one process, in the same order.
func Bind(specs []*Spec, env Env) []Filter {
	filters := make([]Filter, len(specs))
	for i, s := range specs {
		filters[i] = s.Bind(env)
	}
	return filters
}

func parse(text string) (func(Env) Filter, *mistake) {
	before, value, hasValue := strings.Cut(text, "=")
	name := strings.TrimSpace(before)
	if name == "app-only" && !hasValue {
		return appOnly, nil
	}
	example, ok := examples[name]
	if !ok || strings.HasPrefix(value, "=") {
		return nil, unnamed(text)
	}
	if value == "" {
		return nil, &mistake{strings.Index(text, name), name, "needs a value, as in " + example}
	}
	switch name {
	case "threshold-time":
		seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || math.IsNaN(seconds) || math.IsInf(seconds, 0) || seconds < 0 {
			return nil, &mistake{len(before) + 1, value, "is no number of seconds from 0 on, as in " + example}
		}
		return func(Env) Filter { return longer(seconds) }, nil
	case "app-only":
		return func(env Env) Filter { return under(value, env.Dir) }, nil
	case "module-path":
		return func(Env) Filter { return func(f *Frame) bool { return strings.Contains(f.File, value) } }, nil
	}
	return func(Env) Filter { return func(f *Frame) bool { return !strings.Contains(f.File, value) } }, nil
}

// examples has every named filter that takes a value.
var examples = map[string]string{
	"threshold-time": "threshold-time=0.01",
	"app-only":       "app-only=/srv/app",
	"module-path":    "module-path=shop/",
	"not-include":    "not-include=/site-packages/",
}

// longer compares the time that the record tells, which is in whole microseconds, so that no reader finds a frame in
// it that the filter should have dropped.
func longer(seconds float64) Filter {
	return func(f *Frame) bool { return float64(f.Time/1000)/1e6 > seconds }
}

// unnamed tells a misspelt name from an expression, which has more in it than a word and a single equals sign.
func unnamed(text string) *mistake {
	start := len(text) - len(strings.TrimLeft(text, " \t"))
	end := start
	for end < len(text) && isWord(text[end]) {
		end++
	}
	rest := strings.TrimLeft(text[end:], " \t")
	switch {
	case start == len(text):
		return &mistake{why: "is empty; named filters are " + Names}
	case end > start && (rest == "" || rest[0] == '=' && !strings.HasPrefix(rest, "==")):
		return &mistake{start, text[start:end], "is no filter; named filters are " + Names}
	}
	return &mistake{len(text) - len(rest), rest, "expressions are not supported by this build; named filters are " + Names}
}

func isWord(c byte) bool {
	return c == '-' || c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// mistake is why a filter was refused, and the part of its text that is to blame, which begins at a byte offset.
type mistake struct {
	at   int
	part string
	why  string
}

func (m *mistake) in(text string) error {
	if m.part == "" {
		return errors.New(m.why)
	}
	return fmt.Errorf("%q at character %d: %s", m.part, utf8.RuneCountInString(text[:m.at])+1, m.why)
}
