// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/internal/sdnotify"
)

// env is the environment variable that tells the daemon that it is one, and
// what it has inherited. Its value is an inheritance in JSON.
const env = "BELAY_DAEMON"

// An inheritance names the descriptors that a daemon gets from its parent.
type inheritance struct {
	Status  int      `json:"status"`  // a pipe, to be written to
	Sockets []string `json:"sockets"` // names of those that follow
}

const (
	// maxReport limits what a daemon may say about its failure, in bytes.
	maxReport = 64 << 10

	// endTimeout is how long a daemon that is no longer wanted may take to
	// end by itself.
	endTimeout = 5 * time.Second

	readyWord = "ready\n"
)

// WaitEnv is the environment variable that, if it is not empty, says that
// whoever has called the program must know what becomes of the daemon, whatever
// the settings say about waiting.
const WaitEnv = "BELAY_DAEMON_WAIT"

// Executable returns the path of this program as it was called: a symbolic link
// is not followed, so that the path leads to a new version once the link does.
// It is to be called before the working directory changes. If the name by which
// the program was called does not lead to it, Executable is os.Executable.
func Executable() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	called, err := exec.LookPath(os.Args[0])
	if err == nil {
		called, err = filepath.Abs(called)
	}
	if err != nil {
		return self, nil
	}
	a, err := os.Stat(self)
	b, calledErr := os.Stat(called)
	if err == nil && calledErr == nil && os.SameFile(a, b) {
		return called, nil
	}
	return self, nil
}

// Config says how a daemon is started. The zero Config is ready to use.
type Config struct {
	// NoWait makes Start return as soon as the process exists.
	NoWait bool

	// Timeout bounds how long Start waits for the daemon to be ready. Zero
	// and negative mean no limit.
	Timeout time.Duration

	// Sockets are passed to the daemon, which gets them from Claim. They
	// stay open here.
	Sockets []sdnotify.Socket

	// Path and Args are the program to start and its arguments, from
	// os.Args[0] on. Empty means this program, as Executable has it, and its
	// arguments.
	Path string
	Args []string

	// Dir is the working directory of the program. Empty means that of this
	// process.
	Dir string

	// Env is the environment of the program. Nil means that of this process.
	Env []string
}

// Start starts the program once more, in the background, waits until it is
// ready, and returns its process id. If it fails, the error is what it has
// said about it. If it is not ready in time, or ctx ends before it is, it is
// ended: after an error no daemon is left.
func Start(ctx context.Context, cfg Config) (pid int, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("start daemon: %w", err)
	}
	defer read.Close()
	cmd, err := cfg.command(write)
	if err == nil {
		err = cmd.Start()
	}
	write.Close()
	if err != nil {
		return 0, fmt.Errorf("start daemon: %w", err)
	}
	pid = cmd.Process.Pid
	if cfg.NoWait {
		return pid, cmd.Process.Release()
	}
	report := make(chan string, 1)
	go func() { // ends when the daemon closes its end of the pipe
		b, _ := io.ReadAll(io.LimitReader(read, maxReport))
		report <- string(b)
	}()
	if cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, cfg.Timeout, fmt.Errorf("it was not ready after %v", cfg.Timeout))
		defer cancel()
	}
	select {
	case text := <-report:
		if text == readyWord {
			return pid, cmd.Process.Release()
		}
		return 0, failure(cmd, text)
	case <-ctx.Done():
		end(cmd, report)
		return 0, fmt.Errorf("the daemon was stopped: %w", context.Cause(ctx))
	}
}

// command returns the command that starts the daemon.
func (cfg Config) command(status *os.File) (*exec.Cmd, error) {
	h := inheritance{Status: 3, Sockets: []string{}}
	files := []*os.File{status}
	for _, s := range cfg.Sockets {
		h.Sockets = append(h.Sockets, s.Name)
		files = append(files, s.File)
	}
	inherit, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if cfg.Path == "" {
		if cfg.Path, err = Executable(); err != nil {
			return nil, err
		}
		cfg.Args = os.Args
	}
	if cfg.Env == nil {
		cfg.Env = os.Environ()
	}
	return &exec.Cmd{
		Path:        cfg.Path,
		Args:        cfg.Args,
		Dir:         cfg.Dir,
		Env:         append(withoutWatchdogPID(cfg.Env), env+"="+string(inherit)),
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		ExtraFiles:  files,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}, nil
}

// withoutWatchdogPID returns environ without the variable by which the service
// manager says that it is this process which it watches: that is to be the
// daemon.
func withoutWatchdogPID(environ []string) []string {
	own := "WATCHDOG_PID=" + strconv.Itoa(os.Getpid())
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return v == own })
}

// failure returns why a daemon that has closed its pipe is not there, and waits
// for its end.
func failure(cmd *exec.Cmd, text string) error {
	text = strings.TrimSpace(text)
	ended := make(chan struct{})
	go func() { // ends with the process, which is killed if need be
		cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(endTimeout):
		cmd.Process.Kill()
		<-ended
	}
	if text == "" {
		return fmt.Errorf("the daemon ended before it was ready: %v", cmd.ProcessState)
	}
	return errors.New(text)
}

// end ends a daemon that has not become ready.
func end(cmd *exec.Cmd, report <-chan string) {
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-report:
	case <-time.After(endTimeout):
		cmd.Process.Kill()
	}
	cmd.Wait()
}

// A Child is this process, being a daemon that the parent may wait for. A nil
// Child is no daemon, and its methods do nothing.
type Child struct {
	// Sockets are what Config.Sockets were for the parent.
	Sockets []sdnotify.Socket

	status *os.File // nil once the parent knows
}

// Claim returns what this process has inherited as a daemon, nil if it is none.
// It can be called once; the second call returns nil.
func Claim() (*Child, error) {
	text, ok := os.LookupEnv(env)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(env)
	var h inheritance
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", env, err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(h.Status, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("environment variable %s: descriptor %d is not the pipe of a parent", env, h.Status)
	}
	c := &Child{status: inherited(h.Status, "daemon status")}
	for i, name := range h.Sockets {
		c.Sockets = append(c.Sockets, sdnotify.Socket{Name: name, File: inherited(h.Status+1+i, name)})
	}
	return c, nil
}

// inherited returns the file of a descriptor, which no other program inherits.
func inherited(fd int, name string) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

// Ready tells the parent that the daemon is ready. The parent may have gone;
// that is no error.
func (c *Child) Ready() error { return c.tell(readyWord) }

// Failed tells the parent why the daemon cannot become ready, and reports
// whether it was there to be told. It does nothing after Ready, or without an
// error.
func (c *Child) Failed(err error) bool {
	return err != nil && c != nil && c.status != nil && c.tell(err.Error()+"\n") == nil
}

// tell writes the one report to the parent.
func (c *Child) tell(text string) error {
	if c == nil || c.status == nil {
		return nil
	}
	_, err := io.WriteString(c.status, text)
	err = errors.Join(err, c.status.Close())
	c.status = nil
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
