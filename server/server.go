// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/internal/daemon"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upstream"
)

// Config configures a Server. The zero Config is ready to use. A Config must
// not be modified after it has been passed to New.
type Config struct {
	// Options are what the command line says.
	Options Options

	// Settings are used instead of a configuration file, if not nil. A file
	// named by the Options is then ignored, with a warning.
	Settings *config.Config

	// Adjust changes the settings that have been read, or the default ones:
	// what the command line says about them takes precedence. It is called
	// after each reading of the file. Nil changes nothing.
	Adjust func(*config.Config)

	// Sections are the parts of the configuration file that belong to the
	// program. New fills them in, with their defaults if there is no file,
	// but leaves them alone if there are Settings.
	Sections []config.Section

	// Logger receives the log. Nil means a logger that writes to standard
	// error what the environment variable BELAY_LOG asks for.
	Logger *slog.Logger

	// Signals are what the server obeys. Nil means the signals of the
	// process, which it catches while Run runs.
	Signals <-chan os.Signal

	// UpgradeTimeout is how long a process that is being replaced waits for
	// the new one to accept connections, before it gives up and serves on.
	// Zero means 30 seconds. At least 0.
	UpgradeTimeout time.Duration

	// Healthy returns why the program does not work any more, nil if it
	// does. It is asked before each sign of life to the service manager, and
	// for the admin listener. It must not block. Nil means that the program
	// is healthy as long as it lives.
	Healthy func() error

	// OnPhase is called at the beginning of each phase, one call at a time.
	// It must not block. Nil means that nobody wants to know.
	OnPhase func(Phase)

	// Stdout receives the verdict of Options.Test. Nil means os.Stdout.
	Stdout io.Writer
}

// A Phase is a part of the life of a Server.
type Phase string

// The phases, in order. After PhaseUpgrading comes PhaseRunning again if the
// upgrade fails. A shutdown that is fast from the start skips PhaseDraining, and
// a start that fails goes on with PhaseClosing.
const (
	PhaseStarting  Phase = "starting"  // listeners are bound or taken over, services started
	PhaseRunning   Phase = "running"   // all services are ready
	PhaseUpgrading Phase = "upgrading" // as PhaseRunning, and a new process is taking over
	PhaseDraining  Phase = "draining"  // nothing is accepted, exchanges in hand go on
	PhaseClosing   Phase = "closing"   // connections are closed, background services end
	PhaseEnded     Phase = "ended"     // Run is about to return
)

// A Server runs services until it is told to end. Make one with New, add
// services, and call Run or RunForever once.
type Server struct {
	cfg         Config
	settings    config.Config                 // that it was started with
	live        atomic.Pointer[config.Config] // after a reload
	pid         int                           // of the process
	startDir    string                        // in which the process was started
	executable  string                        // path of the program, as it was called; "" if it cannot be found
	startUID    int                           // as whom
	startGID    int                           // likewise
	startGroups []uint32                      // likewise
	initial     []any                         // what the sections held before they were read
	logs        logs
	log         *slog.Logger

	release func() // ends holdQuit

	hasLog bool // of a daemon: its log is open; used by Run's goroutine only

	connector *upstream.Connector

	reloading sync.Mutex // held during a reload

	phaseMu sync.Mutex
	current Phase // guarded by phaseMu

	mu        sync.Mutex
	begun     bool          // Run was called; guarded by mu
	services  []*Service    // guarded by mu until begun
	checks    []check       // likewise
	reloaders []reloader    // likewise
	reopeners []reopener    // likewise
	keepers   []keeper      // likewise
	errs      []error       // in services that were added; likewise
	ready     chan struct{} // closed when all services are ready
}

// A check is what a program has to say about its configuration.
type check struct {
	name string
	f    func(context.Context) error
}

// New returns a server with the settings of the configuration file, if the
// options name one. The error lists every problem.
func New(cfg Config) (*Server, error) {
	cfg.Stdout = cmp.Or[io.Writer](cfg.Stdout, os.Stdout)
	s := &Server{cfg: cfg, ready: make(chan struct{}), initial: snapshot(cfg.Sections), release: func() {}}
	if cfg.Options.Upgrade && cfg.Signals == nil {
		s.release = holdQuit()
	}
	s.pid = os.Getpid()
	s.startUID, s.startGID = os.Geteuid(), os.Getegid()
	groups, _ := os.Getgroups()
	for _, g := range groups {
		s.startGroups = append(s.startGroups, uint32(g))
	}
	s.startDir, _ = os.Getwd() // if it cannot be found, paths stay as they are
	s.executable, _ = daemon.Executable()
	spec, specErr := parseLogSpec(os.Getenv(logEnv))
	s.logs = newLogs(os.Stderr, spec)
	s.log = s.Logger("server")
	if specErr != nil && cfg.Logger == nil {
		s.log.Warn("part of the log levels is ignored", "err", specErr)
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	var err error
	if s.connector, err = newConnector(s.settings); err != nil {
		return nil, err
	}
	return s, nil
}

// load finds the settings.
func (s *Server) load() (err error) {
	file := s.cfg.Options.ConfFile
	switch {
	case s.cfg.Settings != nil:
		if file != "" {
			s.log.Warn("the configuration file is ignored: the program brings its own settings", "file", file)
		}
		s.settings = s.cfg.Settings.WithDefaults()
		return s.settings.Validate()
	case file != "":
		s.settings, err = config.Load(file, s.cfg.Sections...)
	default:
		s.settings, err = config.Parse("(no configuration file)", nil, s.cfg.Sections...)
	}
	if err == nil {
		s.settings, err = s.adjust(s.settings)
	}
	return err
}

// adjust returns c as the program adjusts it.
func (s *Server) adjust(c config.Config) (config.Config, error) {
	if s.cfg.Adjust == nil {
		return c, nil
	}
	s.cfg.Adjust(&c)
	c = c.WithDefaults()
	return c, c.Validate()
}

// Settings returns the settings in force, with defaults filled in. A reload
// may change them.
func (s *Server) Settings() config.Config {
	if live := s.live.Load(); live != nil {
		return *live
	}
	return s.settings
}

// Logger returns the logger for a package, which is named in each line as
// "pkg" and has the level that BELAY_LOG sets for it.
func (s *Server) Logger(pkg string) *slog.Logger {
	if s.cfg.Logger != nil {
		return s.cfg.Logger.With("pkg", pkg)
	}
	return s.logs.logger(pkg)
}

// Ready returns a channel that is closed when all services are ready: the
// server accepts connections.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Check adds a check of the program to those that -t makes: f returns what is
// wrong, or nil.
func (s *Server) Check(name string, f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, check{name, f})
}

// Listen adds a service that accepts connections on listeners and has handler
// serve them. Their Tasks and Logger are set if they are zero. A problem with
// the service is reported by Run.
func (s *Server) Listen(name string, handler ConnHandler, listeners ...listener.Config) *Service {
	v := &Service{name: name, handler: handler}
	for _, c := range listeners {
		c.Tasks = cmp.Or(c.Tasks, s.settings.ListenerTasksPerFD)
		c.Logger = cmp.Or(c.Logger, s.Logger("listener"))
		v.configs = append(v.configs, c)
	}
	var err error
	switch {
	case handler == nil:
		err = fmt.Errorf("server: service %q has no handler", name)
	case len(listeners) == 0:
		err = fmt.Errorf("server: service %q has no listeners", name)
	}
	return s.add(v, err)
}

// Background adds a service that works in the background. A problem with the
// service is reported by Run.
func (s *Server) Background(name string, b BackgroundService) *Service {
	var err error
	if b == nil {
		err = fmt.Errorf("server: background service %q is nil", name)
	}
	return s.add(&Service{name: name, background: b}, err)
}

// add adds v, with what is wrong with it.
func (s *Server) add(v *Service, err error) *Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.server, v.canAccept, v.ready = s, make(chan struct{}), make(chan struct{})
	if v.name == "" {
		err = errors.Join(err, errors.New("server: a service has no name"))
	}
	for _, other := range s.services {
		if other.name == v.name {
			err = errors.Join(err, fmt.Errorf("server: two services are named %q", v.name))
		}
	}
	if s.begun {
		err = errors.Join(err, fmt.Errorf("server: service %q was added to a running server", v.name))
		s.log.Error("service ignored", "err", err)
		return v
	}
	s.errs = append(s.errs, err)
	s.services = append(s.services, v)
	return v
}

// begin ends the time in which services can be added, and returns them in the
// order in which they can start.
func (s *Server) begin() ([]*Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return nil, errors.New("server: Run was called before")
	}
	s.begun = true
	if err := errors.Join(s.errs...); err != nil {
		return nil, err
	}
	if len(s.services) == 0 {
		return nil, errors.New("server: there are no services")
	}
	return startOrder(s.services), nil
}

// Run runs the services until a signal, or the end of ctx, which has the effect
// of SIGTERM; see the package comment. It returns nil if it was ended in one of
// these ways. The error otherwise says what could not be started, or what still
// runs though it should have ended. When all handlers and background services
// keep their contracts, nothing of the server is left when Run returns.
//
// With Options.Test, Run only checks whether the server could start. It prints
// that it could, or returns all problems.
//
// To run in the background, if the options or the settings ask for that, Run
// starts the program once more. In the first process it then only waits until
// the second one is ready, and returns nil, or the error of the other. In the
// second it does the work.
//
// Run changes the process: GOMAXPROCS by Settings.Threads, the memory limit of
// the garbage collector by the control group, the user and group by the
// settings, and for a daemon umask, working directory, standard output and
// error.
//
// Run can be called once.
func (s *Server) Run(ctx context.Context) error {
	services, err := s.begin()
	if s.cfg.Options.Test {
		return s.test(ctx, services, err)
	}
	if err != nil {
		return err
	}
	if !s.isDaemon() {
		return s.runHere(ctx, nil, services)
	}
	child, err := daemon.Claim()
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if child == nil {
		return s.startDaemon(ctx)
	}
	err = s.runHere(ctx, child, services)
	if child.Failed(err) && !s.hasLog {
		return reportedError{err}
	}
	return err
}

// runHere runs the services in this process, which may be a daemon.
func (s *Server) runHere(ctx context.Context, child *daemon.Child, services []*Service) error {
	h, err := s.enter(child, services)
	if err != nil {
		return err
	}
	defer s.release()
	defer h.leave()
	r := newRun(ctx, s, services, h)
	defer r.end()
	return r.run()
}

// ErrReported is what the error of Run is, besides what it says, if the process
// is a daemon that has failed and the command that started it says why: nobody
// else need do so.
var ErrReported = errors.New("reported by the command that has started the daemon")

// A reportedError is an ErrReported.
type reportedError struct{ error }

func (e reportedError) Is(target error) bool { return target == ErrReported }
func (e reportedError) Unwrap() error        { return e.error }

// RunForever calls Run and ends the process, with code 0 if Run returned nil
// and otherwise with code 1.
func (s *Server) RunForever() {
	if err := s.Run(context.Background()); err != nil {
		if s.cfg.Options.Test {
			fmt.Fprintf(os.Stderr, "%v\nconfiguration test failed\n", err)
		} else if !errors.Is(err, ErrReported) {
			s.log.Error("server failed", "err", err)
		}
		os.Exit(1)
	}
	os.Exit(0)
}

// currentPhase returns the phase that has begun last, "" before the first.
func (s *Server) currentPhase() Phase {
	s.phaseMu.Lock()
	defer s.phaseMu.Unlock()
	return s.current
}

// phase tells the program that p begins, unless it has begun already.
func (s *Server) phase(p Phase) { s.phaseAfter(nil, p) }

// phaseAfter closes begun, if it is not nil, and then is phase. So whoever hears
// of the phase from OnPhase finds it begun, and what that leads to is told later.
func (s *Server) phaseAfter(begun chan struct{}, p Phase) {
	s.phaseMu.Lock()
	defer s.phaseMu.Unlock()
	if begun != nil {
		close(begun)
	}
	if s.current == p {
		return
	}
	s.current = p
	if s.cfg.OnPhase != nil {
		s.cfg.OnPhase(p)
	}
}
