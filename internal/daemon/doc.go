// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package daemon puts a program into the background and makes it continue as
// another user.
//
// A Go program cannot fork. So the program that was called starts itself once
// more, in a session of its own, and waits until that process says that it is
// ready, or why it cannot be:
//
//	child, err := daemon.Claim()
//	if child == nil { // called in the foreground
//		_, err := daemon.Start(ctx, daemon.Config{})
//		return err
//	}
//	err = run(child.Ready) // calls Ready when it accepts connections
//	child.Failed(err)      // without effect after Ready
//
// Standard output and error are those of the caller until the daemon redirects
// them; standard input is closed from the start.
package daemon
