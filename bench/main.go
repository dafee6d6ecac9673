// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	scenarios  []string // globs; none means those that are not optional
	noScenario bool     // in spite of that: --growth alone
	peers      []string // globs; none means all
	belays     []string // other binaries, as for otherBelay
	rounds     int
	duration   time.Duration // of the measured phase
	idleWait   time.Duration // before memory is read again
	cores      int           // for the proxy
	quick      bool
	latency    bool   // also at constant rates
	growth     bool   // how cost grows
	json       string // file, "" for none
	markdown   string // file, "" for none
	svg        string // directory, "" for none
	record     string // file, "" for none
	pgo        string // file, "" for none

	descriptors int // limit on open files, not from the command line
}

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit status: 2 for a wrong command line, 1 if something
// could not be measured or the gate is closed.
func run(args []string) int {
	var err error
	switch subcommand(args) {
	case "run-origin":
		var count int
		if count, err = strconv.Atoi(strings.Join(args[1:], " ")); err == nil {
			err = runOrigin(count, os.Stdin, os.Stdout)
		}
	case "run-load":
		err = runLoad(os.Stdin, os.Stdout)
	case "run-httputil":
		err = runHTTPUtil(args[1:])
	default:
		opts, perr := parseOptions(args, os.Stderr)
		if errors.Is(perr, flag.ErrHelp) {
			return 0
		}
		if perr != nil {
			fmt.Fprintln(os.Stderr, "bench:", perr)
			return 2
		}
		endWithGoCommand()
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		// A second signal ends us at once, but not one that is only the same once
		// more: "timeout" signals us and "go run", whose end signals us again.
		context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
		err = compare(ctx, opts, os.Stdout, os.Stderr)
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// subcommand returns the first argument unless that is a flag. The subcommands
// are for our own children.
func subcommand(args []string) string {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0]
	}
	return ""
}

// parseOptions parses the command line. It writes the usage to w if asked for.
func parseOptions(args []string, w io.Writer) (options, error) {
	opts := options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	list := func(to *[]string) func(string) error {
		return func(value string) error {
			*to = append(*to, strings.Split(value, ",")...)
			return nil
		}
	}
	flags.Func("scenario", "run scenarios that match this `glob`; repeatable; optional ones run only if named", list(&opts.scenarios))
	flags.Func("peers", "measure peers that match these `globs`, separated by commas; optional ones only if named", list(&opts.peers))
	flags.Func("belay", "also measure another `belay`: PATH or NAME=PATH of a binary, or NAME@REV of a revision to build; repeatable", list(&opts.belays))
	flags.IntVar(&opts.rounds, "rounds", 5, "`number` of rounds")
	flags.DurationVar(&opts.duration, "duration", 2*time.Second, "`length` of one measurement")
	flags.DurationVar(&opts.idleWait, "idle-wait", 6*time.Second, "how `long` connections idle before memory is read again")
	flags.IntVar(&opts.cores, "cores", 1, "`number` of CPUs, and of threads, for the proxy")
	flags.BoolVar(&opts.quick, "quick", false, "rounds of 400ms of "+quickScenario+" for nginx and belay, unless other flags say so, and compare with recorded.json")
	flags.BoolVar(&opts.latency, "latency", false, "also measure latency at constant rates; so does a run without --scenario and --quick")
	all := flags.Bool("all", false, "scenarios, --latency and --growth")
	flags.BoolVar(&opts.growth, "growth", false, "measure how cost grows with connections, backends, fields and bodies, by default of "+strings.Join(growthPeers, ", ")+"; scenarios only if --scenario names them")
	flags.StringVar(&opts.json, "json", "", "write everything to this `file`")
	flags.StringVar(&opts.markdown, "markdown", "", "write the tables to their place in this `file`, which has to have one")
	flags.StringVar(&opts.svg, "svg", "", "draw the results into this `directory`")
	flags.StringVar(&opts.record, "record", "", "write the ratios that --quick compares with to this `file`")
	flags.StringVar(&opts.pgo, "pgo", "", "compare nothing: profile belay in a mix of scenarios and write that to this `file`")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printUsage(w, flags)
		}
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	set := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if opts.quick {
		opts.shorten(set)
	}
	if *all {
		opts.latency, opts.growth = true, true
	}
	if opts.growth && !*all && !set["scenario"] {
		opts.noScenario = true
		if !set["peers"] {
			opts.peers = growthPeers
		}
	}
	if !set["scenario"] && !set["latency"] && !opts.quick {
		opts.latency = true
	}
	if opts.pgo != "" {
		opts.peers = []string{belayName}
		if len(opts.scenarios) == 0 {
			opts.scenarios = pgoScenarios
		}
	}
	return opts, opts.validate()
}

func printUsage(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprintln(w, "usage: bench [flags]\n\nscenarios:")
	for _, s := range scenarios {
		optional := ""
		if s.optional {
			optional = " (optional)"
		}
		fmt.Fprintf(w, "  %-15s %s%s\n", s.Name, s.What, optional)
	}
	fmt.Fprintln(w, "\npeers:")
	for _, c := range candidates {
		optional := ""
		if c.optional {
			optional = " (optional)"
		}
		fmt.Fprintf(w, "  %s%s\n", c.name, optional)
	}
	fmt.Fprintln(w, "\nflags:")
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// shorten applies --quick to what the command line does not set.
func (o *options) shorten(set map[string]bool) {
	if !set["scenario"] {
		o.scenarios = []string{quickScenario}
	}
	if !set["peers"] {
		o.peers = quickPeers
		if len(o.belays) > 0 {
			o.peers = append(slices.Clone(quickPeers), belayName+":*")
		}
	}
	if !set["duration"] {
		o.duration = 400 * time.Millisecond
	}
}

// validate reports all values that are out of range.
func (o *options) validate() error {
	var errs []error
	if o.rounds < 1 || o.rounds > 1000 {
		errs = append(errs, fmt.Errorf("--rounds is %d, want 1 to 1000", o.rounds))
	}
	if o.duration < 100*time.Millisecond || o.duration > 10*time.Minute {
		errs = append(errs, fmt.Errorf("--duration is %v, want 100ms to 10m", o.duration))
	}
	if o.idleWait < 0 || o.idleWait > 10*time.Minute {
		errs = append(errs, fmt.Errorf("--idle-wait is %v, want 0 to 10m", o.idleWait))
	}
	if o.cores < 1 {
		errs = append(errs, fmt.Errorf("--cores is %d, want at least 1", o.cores))
	}
	return errors.Join(errs...)
}

// compare is the program: it measures all chosen peers in all chosen scenarios
// and prints the results to w, with progress to progress.
func compare(ctx context.Context, opts options, w, progress io.Writer) error {
	chosen, err := selectScenarios(scenarios, opts.scenarios)
	if err != nil {
		return err
	}
	if opts.noScenario {
		chosen = nil
	}
	if opts.markdown != "" {
		if err := checkMarkdown(opts.markdown); err != nil {
			return err
		}
	}
	opts.descriptors = raiseDescriptors()
	dir, err := os.MkdirTemp("", "belay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	peers, err := findPeers(ctx, opts, workshop{dir: dir, progress: progress})
	if err != nil {
		return err
	}
	b, err := newBench(ctx, opts, dir, progress)
	if err != nil {
		return err
	}
	defer b.close()
	r := &report{Machine: thisMachine(), Cores: opts.cores, Rounds: opts.rounds, Duration: opts.duration.Seconds(), Peers: peers}
	r.printIntro(w, b)
	if err := b.verifyPeers(ctx, peers, chosen); err != nil {
		return err
	}
	printFailed(w, peers)
	printDiffers(w, peers)
	present := slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return p.Skipped != "" || p.unfit[access{}] != "" })
	if len(present) == 0 && !opts.quick {
		return errors.New("none of the peers is available")
	}
	if opts.pgo != "" {
		return b.writeProfile(ctx, opts.pgo, chosen, present)
	}
	if err := b.runAll(ctx, w, r, chosen, present); err != nil {
		return err
	}
	return finish(ctx, w, b, r, present)
}

// runAll measures and prints one scenario after the other, and writes what
// there is after each.
func (b *bench) runAll(ctx context.Context, w io.Writer, r *report, chosen []scenario, peers []peer) error {
	for _, s := range chosen {
		result, err := b.runScenario(ctx, s, peers)
		if err != nil {
			return err
		}
		result.print(w)
		if b.noCalls != nil {
			fmt.Fprintf(w, "  calls/req: not counted: %v\n", b.noCalls)
		}
		r.Scenarios = append(r.Scenarios, result)
		if err := b.save(r); err != nil {
			return err
		}
	}
	if b.opts.growth {
		return b.runGrowths(ctx, w, r, peers)
	}
	return nil
}

// runGrowths measures and prints how cost grows.
func (b *bench) runGrowths(ctx context.Context, w io.Writer, r *report, peers []peer) error {
	if len(b.opts.peers) == 0 {
		peers = slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return !slices.Contains(growthPeers, p.Name) })
	}
	for _, g := range growths {
		result, err := b.measureGrowth(ctx, g, peers)
		if err != nil {
			return err
		}
		result.print(w)
		r.Growths = append(r.Growths, result)
		if err := b.save(r); err != nil {
			return err
		}
	}
	return nil
}

// save writes what has been measured so far to the file of --json, if any.
func (b *bench) save(r *report) error {
	if b.opts.json == "" {
		return nil
	}
	return r.writeJSON(filepath.Clean(b.opts.json))
}

// finish publishes, fails if anything failed, writes the record that was asked
// for, and holds the gate.
func finish(ctx context.Context, w io.Writer, b *bench, r *report, peers []peer) error {
	r.printTargets(w)
	if err := b.publish(r); err != nil {
		return err
	}
	if err := r.failure(); err != nil {
		return err
	}
	if file := b.opts.record; file != "" {
		if err := writeRecord(filepath.Clean(file), r); err != nil {
			return err
		}
	}
	if b.opts.quick {
		return b.gate(ctx, w, r, peers)
	}
	return nil
}

// publish writes the tables and pictures that were asked for.
func (b *bench) publish(r *report) error {
	plots := ""
	if dir := b.opts.svg; dir != "" {
		if err := r.writePlots(filepath.Clean(dir)); err != nil {
			return err
		}
		if rel, err := filepath.Rel(filepath.Dir(b.opts.markdown), dir); err == nil {
			plots = filepath.ToSlash(rel)
		}
	}
	if file := b.opts.markdown; file != "" {
		return r.writeMarkdown(filepath.Clean(file), plots)
	}
	return nil
}

// raiseDescriptors raises the limit on open files, which our children inherit,
// as far as it goes up to 131,072, and returns it.
func raiseDescriptors() int {
	const enough = 1 << 17
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	if limit.Max < enough { // only root may
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: enough, Max: enough}) == nil {
			return enough
		}
	}
	limit.Cur = min(limit.Max, enough)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(limit.Cur)
}
