// Command apm-ebpf profiles Python and Go HTTP services per request, from outside the process.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "doctor" {
		os.Exit(runDoctor(os.Args[2:], os.Environ(), os.Stdout, os.Stderr))
	}
	o, err := parseOptions(os.Args[1:], os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, "apm-ebpf:", err)
		os.Exit(2)
	}
	if o.answer != "" {
		fmt.Print(o.answer)
		return
	}
	limitMemory()
	log := newLogger(o.logLevel)
	ctx, reopen := signals(o.logFile)
	if err := run(ctx, o, log, reopen); err != nil {
		log.Error().Msg(err.Error())
		os.Exit(1)
	}
}

// newLogger writes diagnostics to standard error: for people on a terminal, else one JSON object a line.
func newLogger(level zerolog.Level) zerolog.Logger {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	log := zerolog.New(os.Stderr)
	if isatty.IsTerminal(os.Stderr.Fd()) {
		log = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.TimeOnly})
	}
	return log.Level(level).With().Timestamp().Logger()
}

// signals gives a context that ends with the first SIGINT or SIGTERM; the second signal ends the process at once.
// SIGHUP, which means nothing without a log file, arrives on reopen. That nobody reads diagnostics any more is no reason
// to end.
func signals(logFile string) (ctx context.Context, reopen <-chan os.Signal) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-stop
		cancel()
		<-stop
		os.Exit(1)
	}()
	if logFile == "" {
		signal.Ignore(syscall.SIGHUP)
		return ctx, nil
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return ctx, hup
}
