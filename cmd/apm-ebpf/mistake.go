package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// explain tells a mistake that pflag found the way all others are told.
func explain(flags *pflag.FlagSet, err error) error {
	see := "see " + flags.Name() + " --help"
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("unknown flag %q: %s", "-"+unknown.GetSpecifiedName(), see)
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if near := closest(flags, name); near != "" {
			return fmt.Errorf("unknown flag %q: did you mean --%s?", "--"+name, near)
		}
		return fmt.Errorf("unknown flag %q: %s", "--"+name, see)
	case errors.As(err, &missing):
		return fmt.Errorf("--%s needs a value: %s", missing.GetFlag().Name, see)
	case errors.As(err, &syntax):
		return fmt.Errorf("argument %q is no flag: %s", syntax.GetSpecifiedFlag(), see)
	}
	return err
}

// singleDash returns the long flag that was written with one dash, which pflag takes for a row of short ones: -pid
// 12 for the process id "id". A value that looks like that has to be written as --flag=value.
func singleDash(flags *pflag.FlagSet, args []string) string {
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if arg == "--" {
			return ""
		}
		if strings.HasPrefix(arg, "-") && len(name) > 1 && flags.Lookup(name) != nil {
			return name
		}
	}
	return ""
}

func unexpected(flags *pflag.FlagSet, arg string) error {
	if pid, err := strconv.Atoi(arg); err == nil && pid > 0 {
		return fmt.Errorf("unexpected argument %q: to profile that process, write --pid %s", arg, arg)
	}
	return fmt.Errorf("unexpected argument %q: see %s --help", arg, flags.Name())
}

// closest returns the flag that a misspelt name most likely stands for, or nothing: one whose beginning it is, or one
// that differs in a third of its letters and one more at most.
func closest(flags *pflag.FlagSet, name string) string {
	best, least := "", len(name)/3+1
	flags.VisitAll(func(flag *pflag.Flag) {
		d := distance(name, flag.Name)
		if len(name) > 1 && strings.HasPrefix(flag.Name, name) {
			d = 0
		}
		if d < least || d == least && best == "" {
			best, least = flag.Name, d
		}
	})
	return best
}

// distance counts the letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
