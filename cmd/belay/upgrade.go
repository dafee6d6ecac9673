// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/internal/daemon"
	"github.com/belay-proxy/belay/internal/sdnotify"
)

func newUpgrade() *cobra.Command {
	var f targetFlags
	var binary string
	cmd := &cobra.Command{
		Use:   "upgrade [flags] [-- arguments]",
		Short: "Replace a running belay by a new process without losing a connection",
		Long: `Replace a running belay by a new process, with the same program file and
arguments unless others are given. The new process takes over the listening
sockets; the old one ends when it has finished what it has in hand.

If the new process does not start, or not within its time, the old one serves on as
if nothing had happened, and the exit code is 1.`,
		Example: `  belay upgrade
  belay upgrade --binary /usr/local/bin/belay.new
  belay upgrade -- proxy --to 127.0.0.1:3001`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, st, err := f.find(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if binary != "" {
				st.Executable = binary
			}
			if len(args) > 0 {
				st.Args = append(st.Args[:1:1], args...)
			}
			if err := upgrade(cmd.Context(), st, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return failed(fmt.Errorf("no upgrade: %w\n%s", err, afterFailure(cmd.Context(), c, st.PID)))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d has been replaced; it finishes what it has in hand\n", st.PID)
			return failed(err)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&binary, "binary", "", "`path` of the new program (default that of the running one)")
	return cmd
}

// upgrade starts the program that st names, tells the running process to hand
// over when the new one waits for that, and waits until it is settled.
func upgrade(ctx context.Context, st control.Status, out, errOut io.Writer) error {
	if st.PID == 1 {
		return errors.New("it is process 1, with which its container ends: replace the container")
	}
	if st.Phase != "running" {
		return fmt.Errorf("process %d cannot be replaced now: it is %s", st.PID, st.Phase)
	}
	before, _ := os.Lstat(st.UpgradeSock)
	cmd := newProcess(ctx, st, out, errOut)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the new process: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the command, which waits for the new process
	err := waitForSocket(st.UpgradeSock, before, ended)
	if err == nil {
		if err = syscall.Kill(st.PID, syscall.SIGQUIT); err != nil {
			cmd.Process.Signal(syscall.SIGTERM)
			err = errors.Join(fmt.Errorf("tell process %d to hand over: %w", st.PID, err), <-ended)
		} else {
			err = <-ended
		}
	}
	if err != nil {
		return fmt.Errorf("the new process has not taken over: %w", err)
	}
	return nil
}

// afterFailure says what the old process does after an upgrade that has failed.
// It may still be about to notice.
func afterFailure(ctx context.Context, c *control.Client, pid int) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		st, err := c.Status(ctx)
		switch {
		case err != nil:
			return fmt.Sprintf("process %d does not answer: %v", pid, err)
		case st.Phase == "running":
			return fmt.Sprintf("process %d serves on", pid)
		case st.Phase != "upgrading":
			return fmt.Sprintf("process %d is %s", pid, st.Phase)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Sprintf("process %d still waits for the new one", pid)
		}
	}
}

// newProcess returns the command that starts the new process, in the background
// and as the user who started the old one.
func newProcess(ctx context.Context, st control.Status, out, errOut io.Writer) *exec.Cmd {
	cmd := exec.CommandContext(ctx, st.Executable)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends the daemon, too
	cmd.Args = withOptions(st.Args, "-u", "-d")
	cmd.Dir = st.Directory
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.Env = append(os.Environ(), daemon.WaitEnv+"=1")
	if st.Watchdog > 0 && sdnotify.New() != nil {
		// The service manager tells that only to the first process.
		cmd.Env = append(cmd.Env, "WATCHDOG_PID=", "WATCHDOG_USEC="+strconv.FormatInt(st.Watchdog.Microseconds(), 10))
	}
	if os.Geteuid() == 0 && st.UID != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(st.UID), Gid: uint32(st.GID), Groups: st.Groups}}
	}
	return cmd
}

// withOptions returns args, from the name of the program on, with those of
// options that are missing added where they are still options.
func withOptions(args []string, options ...string) []string {
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	missing := slices.DeleteFunc(options, func(o string) bool { return slices.Contains(args[:end], o) })
	return slices.Concat(args[:end], missing, args[end:])
}

// waitForSocket waits until there is an upgrade socket other than the one
// before, at which the new process waits for the old one. It returns an error
// if the process ends instead.
func waitForSocket(path string, before fs.FileInfo, ended <-chan error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := os.Lstat(path)
		if err == nil && (before == nil || !os.SameFile(now, before) || !now.ModTime().Equal(before.ModTime())) {
			return nil
		}
		select {
		case err := <-ended:
			if err == nil {
				err = errors.New("it ended")
			}
			return err
		case <-tick.C:
		}
	}
}
