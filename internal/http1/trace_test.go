package http1

import (
	"strings"
	"testing"
)

func headOf(t *testing.T, fields ...string) *Request {
	t.Helper()
	opened, _ := new(Conn).Read(1, whole("GET / HTTP/1.1\r\n"+strings.Join(fields, "\r\n")+"\r\n\r\n"))
	if len(opened) != 1 {
		t.Fatalf("%d requests of %q", len(opened), fields)
	}
	return opened[0]
}

func TestTracer(t *testing.T) {
	const id, plain = "6F1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10", "6f1b0c9e6c1f4b559d3e6a2f6f3f7a10"
	for _, tc := range []struct {
		fields   []string
		id, time string
	}{
		{[]string{"X-APM-TRACER: " + id + ":1764000000"}, id, "1764000000"},
		{[]string{"x-apm-tracer:" + plain + " \t"}, plain, ""},
		{[]string{"X-APM-TRACER: " + plain + ":"}, plain, ""},
		{[]string{"X-APM-TRACER: " + plain + ":a:\"b\x01"}, plain, "a:\"b\x01"},
		{[]string{"X-APM-TRACER: " + plain + " :1"}, "", ""},
		{[]string{"X-APM-TRACER: {" + id + "}"}, "", ""},
		{[]string{"X-APM-TRACER: " + strings.ReplaceAll(id, "-", "_")}, "", ""},
		{[]string{"X-APM-TRACER: " + plain[1:] + "g:1"}, "", ""},
		{[]string{"X-APM-TRACER: :1"}, "", ""},
		{[]string{"X-APM-TRACER:"}, "", ""},
		{[]string{" X-APM-TRACER: " + id}, "", ""},
		{[]string{"X-APM-TRACER : " + id}, "", ""},
		{[]string{"X-APM-TRACER: bad:1", "X-APM-TRACER: " + id + ":2", "X-APM-TRACER: " + plain + ":3"}, id, "2"},
	} {
		if q := headOf(t, tc.fields...); q.TraceID != tc.id || q.ClientTime != tc.time {
			t.Errorf("%q: %q at %q, want %q at %q", tc.fields, q.TraceID, q.ClientTime, tc.id, tc.time)
		}
	}
}

func TestTraceparent(t *testing.T) {
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, tc := range []struct {
		value, id string
	}{
		{"00-" + id + "-" + parent + "-01", id},
		{"00-" + id + "-" + parent + "-ff", id},
		{"cc-" + id + "-" + parent + "-01", id},
		{"cc-" + id + "-" + parent + "-01-more", id},
		{"cc-" + id + "-" + parent + "-01more", ""},
		{"00-" + id + "-" + parent + "-01-more", ""},
		{"ff-" + id + "-" + parent + "-01", ""},
		{"00-" + strings.ToUpper(id) + "-" + parent + "-01", ""},
		{"00-" + strings.Repeat("0", 32) + "-" + parent + "-01", ""},
		{"00-" + id + "-" + strings.Repeat("0", 16) + "-01", ""},
		{"00-" + id + "-" + parent + "-0", ""},
		{"00-" + id + "-" + parent + ".01", ""},
		{"", ""},
	} {
		if q := headOf(t, "traceparent: "+tc.value); q.Traceparent != tc.value || q.ParentTraceID != tc.id {
			t.Errorf("%q: kept %q, trace %q, want %q", tc.value, q.Traceparent, q.ParentTraceID, tc.id)
		}
	}
	one := "traceparent: 00-" + id + "-" + parent + "-01"
	if q := headOf(t, one, one); q.ParentTraceID != "" || q.Traceparent == "" {
		t.Errorf("two headers: kept %q, trace %q", q.Traceparent, q.ParentTraceID)
	}
}
