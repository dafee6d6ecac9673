// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// Options are what the command line says.
type Options struct {
	Upgrade  bool     // -u, --upgrade: take the listeners over from the running process
	Daemon   bool     // -d, --daemon: run in the background
	Test     bool     // -t, --test: check the configuration and exit
	ConfFile string   // -c, --conf FILE: the configuration; empty means defaults
	Help     bool     // -h, --help
	Version  bool     // -V, --version
	Args     []string // what is neither an option nor the value of one

	flags *flag.FlagSet
}

// ParseOptions parses args, the command line without the name of the program.
//
// own may add options of the program to the FlagSet; it may be nil. Options of
// one letter are written with one dash and can be combined ("-du", "-cFILE"),
// longer ones with two ("--conf FILE", "--conf=FILE"). "--" ends them. The
// name of an option's value is what stands between back quotes in its usage.
//
// If Help or Version is set, the rest may be incomplete.
func ParseOptions(args []string, own func(*flag.FlagSet)) (Options, error) {
	var o Options
	o.flags = flag.NewFlagSet("", flag.ContinueOnError)
	o.flags.SetOutput(io.Discard)
	both := func(p *bool, short, long string) {
		o.flags.BoolVar(p, short, false, "")
		o.flags.BoolVar(p, long, false, "")
	}
	both(&o.Upgrade, "u", "upgrade")
	both(&o.Daemon, "d", "daemon")
	both(&o.Test, "t", "test")
	both(&o.Help, "h", "help")
	both(&o.Version, "V", "version")
	o.flags.StringVar(&o.ConfFile, "c", "", "")
	o.flags.StringVar(&o.ConfFile, "conf", "", "")
	o.flags.Bool("nocapture", false, "") // of test runners; no effect
	if own != nil {
		own(o.flags)
	}
	err := o.parse(args)
	return o, err
}

// parse parses all arguments.
func (o *Options) parse(args []string) error {
	for len(args) > 0 && !o.Help && !o.Version {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			o.Args = append(o.Args, args...)
			return nil
		case strings.HasPrefix(arg, "--"):
			args, err = o.parseLong(arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = o.parseShort(arg[1:], args)
		default:
			o.Args = append(o.Args, arg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseLong parses an option such as "conf=FILE", without its dashes, and
// returns what is left of the arguments after it.
func (o *Options) parseLong(arg string, rest []string) ([]string, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	f := o.flags.Lookup(name)
	if f == nil || len(name) < 2 {
		return rest, fmt.Errorf("unknown option --%s", name)
	}
	if !hasValue && isBool(f) {
		value, hasValue = "true", true
	}
	return o.set("--"+name, name, value, hasValue, rest)
}

// parseShort parses options of one letter, such as "du" or "cFILE", without
// their dash, and returns what is left of the arguments after them.
func (o *Options) parseShort(letters string, rest []string) ([]string, error) {
	for letters != "" {
		name := letters[:1]
		letters = letters[1:]
		f := o.flags.Lookup(name)
		if f == nil {
			return rest, fmt.Errorf("unknown option -%s", name)
		}
		if !isBool(f) {
			value := strings.TrimPrefix(letters, "=")
			return o.set("-"+name, name, value, letters != "", rest)
		}
		if _, err := o.set("-"+name, name, "true", true, nil); err != nil {
			return rest, err
		}
	}
	return rest, nil
}

// set sets an option to value, or without one to the next argument.
func (o *Options) set(shown, name, value string, hasValue bool, rest []string) ([]string, error) {
	if !hasValue {
		if len(rest) == 0 {
			return rest, fmt.Errorf("option %s needs a value", shown)
		}
		value, rest = rest[0], rest[1:]
	}
	if err := o.flags.Set(name, value); err != nil {
		return rest, fmt.Errorf("option %s: invalid value %q: %w", shown, value, err)
	}
	return rest, nil
}

// isBool reports whether f takes no value.
func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// ownUsage lists the options of this package.
const ownUsage = `  -c, --conf FILE       read the configuration from FILE (YAML)
  -t, --test            check the configuration and exit
  -d, --daemon          run in the background
  -u, --upgrade         take over the listeners of the running process
  -h, --help            print this help
  -V, --version         print the version
`

// Usage returns the help text: how to call the program, and its options.
func (o Options) Usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [options]\n\nOptions:\n%s", programName(), ownUsage)
	if o.flags == nil {
		return b.String()
	}
	reserved := map[string]bool{"u": true, "upgrade": true, "d": true, "daemon": true, "t": true, "test": true,
		"h": true, "help": true, "V": true, "version": true, "c": true, "conf": true, "nocapture": true}
	o.flags.VisitAll(func(f *flag.Flag) {
		if reserved[f.Name] {
			return
		}
		value, usage := flag.UnquoteUsage(f)
		line := "      --" + f.Name
		if len(f.Name) == 1 {
			line = "  -" + f.Name
		}
		if value != "" {
			line += " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		if len(line) > 23 {
			line += "\n" + strings.Repeat(" ", 23)
		}
		fmt.Fprintf(&b, "%-23s %s\n", line, usage)
	})
	return b.String()
}

// ParseOrExit parses the command line of the process. It ends the process
// after printing the help or the version (code 0), and if the command line is
// wrong (code 2).
func ParseOrExit(own func(*flag.FlagSet)) Options {
	o, err := ParseOptions(os.Args[1:], own)
	switch {
	case o.Help:
		fmt.Print(o.Usage())
		os.Exit(0)
	case o.Version:
		fmt.Println(version())
		os.Exit(0)
	}
	if err == nil && len(o.Args) > 0 {
		err = fmt.Errorf("unexpected argument %q", o.Args[0])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\nTry %s --help.\n", programName(), err, programName())
		os.Exit(2)
	}
	return o
}

func programName() string { return filepath.Base(os.Args[0]) }

// version returns the name and version of the program, and with what it was
// built.
func version() string {
	v := "(unknown version)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("%s %s %s %s/%s", programName(), v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
