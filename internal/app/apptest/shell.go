// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package apptest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Blocks returns the code blocks of a Markdown file that begin with a line of
// three back quotes and info, without their fences.
func Blocks(t testing.TB, file, info string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split("\n"+string(text), "\n```")
	for i := 1; i < len(parts); i += 2 {
		if kind, code, _ := strings.Cut(parts[i], "\n"); kind == info {
			blocks = append(blocks, code+"\n")
		}
	}
	return blocks
}

// A Shell runs the commands of a document in a directory of its own, in which
// the private files of programs are, too.
type Shell struct {
	// Dir is the directory. It is short enough for sockets.
	Dir string

	t   testing.TB
	env []string
}

// NewShell makes a Shell. The commands in programs, name to program as Main
// knows it, start this test binary. The command pkill only reaches what was
// started by the Shell and has a control socket.
func NewShell(t testing.TB, programs map[string]string) *Shell {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	dir, err := os.MkdirTemp("", "sh")
	if err != nil {
		t.Fatal(err)
	}
	s := &Shell{Dir: dir, t: t}
	run, bin := filepath.Join(dir, "run"), filepath.Join(dir, "bin")
	for _, d := range []string{run, bin} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		s.signal("KILL")
		os.RemoveAll(dir)
	})
	for name, program := range programs {
		// The link keeps the name, the script sets what Main looks at.
		s.write("bin/"+name, "#!/bin/sh\n"+programEnv+"='"+program+"' exec "+filepath.Join(bin, "."+name, name)+` "$@"`+"\n", 0o700)
		if err := os.Mkdir(filepath.Join(bin, "."+name), 0o700); err != nil {
			t.Fatal(err)
		}
		exe, err := os.Executable()
		if err == nil {
			err = os.Symlink(exe, filepath.Join(bin, "."+name, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.write("bin/pkill", `#!/bin/sh
for s in "`+run+`"/control.*.sock; do
	pid=${s##*/control.}
	sig=${1#-}
	kill "-${sig#SIG}" "${pid%.sock}" && found=1
done
[ -n "$found" ]
`, 0o700)
	s.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "RUNTIME_DIRECTORY="+run, "NOTIFY_SOCKET=")
	return s
}

// Setenv sets a variable for the commands.
func (s *Shell) Setenv(name, value string) { s.env = append(s.env, name+"="+value) }

// Write writes a file in the directory.
func (s *Shell) Write(name, text string) { s.t.Helper(); s.write(name, text, 0o600) }

func (s *Shell) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// Run runs a script, fails the test if one of its commands fails, and returns
// what it printed.
func (s *Shell) Run(script string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", script)
	cmd.Dir, cmd.Env = s.Dir, s.env
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s\n%v; it printed:\n%s", script, err, out)
	}
	return string(out)
}

// WaitEnded waits until no process that the Shell has started has a control
// socket any more.
func (s *Shell) WaitEnded() {
	s.t.Helper()
	s.Eventually("all processes have ended", func() bool {
		sockets, _ := filepath.Glob(filepath.Join(s.Dir, "run", "control.*.sock"))
		return len(sockets) == 0
	})
}

// Eventually waits until ok returns true.
func (s *Shell) Eventually(what string, ok func() bool) {
	s.t.Helper()
	for late := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// signal sends a signal to all processes that have a control socket.
func (s *Shell) signal(name string) {
	cmd := exec.Command(filepath.Join(s.Dir, "bin", "pkill"), "-"+name)
	_ = cmd.Run() // fails if there are none
}
