package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"apm-ebpf/internal/doctor"
)

//go:embed doctor.txt
var doctorHelp string

// runDoctor is `apm-ebpf doctor`. It gives the exit status.
func runDoctor(args, environ []string, stdout, stderr io.Writer) int {
	var (
		o    options
		json bool
	)
	flags := pflag.NewFlagSet("apm-ebpf doctor", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.Usage = func() {}
	flags.VarP(setter(o.addPIDs), "pid", "p", "")
	flags.Var(setter(text(&o.btf)), "btf", "")
	flags.VarPF(setter(boolean(&json)), "json", "", "").NoOptDefVal = "true"
	flags.VarPF(setter(o.answerWith(func() string { return doctorHelp })), "help", "h", "").NoOptDefVal = "true"
	if err := setFlags(flags, args, environ); err != nil && !errors.Is(err, errAnswered) {
		fmt.Fprintln(stderr, "apm-ebpf doctor:", err)
		return 2
	}
	if o.answer != "" {
		fmt.Fprint(stdout, o.answer)
		return 0
	}
	report := doctor.Examine(o.pids, o.btf)
	write := report.WriteText
	if json {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		fmt.Fprintln(stderr, "apm-ebpf doctor: write the report:", err)
		return 1
	}
	if !report.Works {
		return 1
	}
	return 0
}
