// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status says how a process is. It is what "belay status --json" prints.
type Status struct {
	Program string    `json:"program"`
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	UID     int       `json:"uid"`    // that it was started as
	GID     int       `json:"gid"`    // likewise
	Groups  []uint32  `json:"groups"` // likewise
	Phase   string    `json:"phase"`
	Started time.Time `json:"started"`
	Uptime  float64   `json:"uptime_seconds"`
	Error   string    `json:"error,omitempty"` // why it is not healthy

	Executable string   `json:"executable"`
	Args       []string `json:"args"` // from the name of the program on
	Directory  string   `json:"directory"`
	Daemon     bool     `json:"daemon"`

	ConfFile    string `json:"conf_file,omitempty"`
	PIDFile     string `json:"pid_file,omitempty"`
	UpgradeSock string `json:"upgrade_sock,omitempty"`

	// Watchdog is how long the service manager waits for a sign of life. Zero
	// means that it does not watch.
	Watchdog time.Duration `json:"watchdog_ns,omitempty"`

	Listeners   []Listener `json:"listeners"`
	Connections int        `json:"connections"`
	Requests    Requests   `json:"requests"`
	Drain       *Drain     `json:"drain,omitempty"` // nil unless draining
}

// A Listener is where connections are accepted.
type Listener struct {
	Service     string `json:"service"`
	Name        string `json:"name"`
	Network     string `json:"network"`
	Addr        string `json:"addr"`
	Connections int    `json:"connections"`
}

// Requests counts the requests of all proxies.
type Requests struct {
	Active   int64 `json:"active"`
	Total    int64 `json:"total"`    // since the start
	Rejected int64 `json:"rejected"` // what never became one, since the start

	// RejectedBy has the same by reason: malformed, too_large, late, flood.
	// Reasons without any are left out.
	RejectedBy map[string]int64 `json:"rejected_by,omitempty"`
}

// rejections returns, for example, "7: 4 malformed, 2 late, 1 too large".
func (r Requests) rejections() string {
	reasons := slices.Collect(maps.Keys(r.RejectedBy))
	slices.SortFunc(reasons, func(a, b string) int {
		return cmp.Or(cmp.Compare(r.RejectedBy[b], r.RejectedBy[a]), cmp.Compare(a, b))
	})
	text, sep := strconv.FormatInt(r.Rejected, 10), ": "
	for _, why := range reasons {
		text += fmt.Sprintf("%s%d %s", sep, r.RejectedBy[why], strings.ReplaceAll(why, "_", " "))
		sep = ", "
	}
	return text
}

// Drain is how far a shutdown has come.
type Drain struct {
	Connections int     `json:"connections"`
	Requests    int64   `json:"requests"`
	SecondsLeft float64 `json:"seconds_left"` // of the grace period; negative: no limit
}

// String returns, for example, "draining: 12 connections, 3 requests, 41 s left".
func (d Drain) String() string {
	text := fmt.Sprintf("draining: %s, %s", count(d.Connections, "connection"), count(int(d.Requests), "request"))
	if d.SecondsLeft >= 0 {
		text += fmt.Sprintf(", %.0f s left", d.SecondsLeft)
	}
	return text
}

// count returns "1 word" or "n words".
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Reload says what has come of reading the configuration again.
type Reload struct {
	File string `json:"file"` // "" if there is none

	// Applied are the keys whose new values are in force.
	Applied []string `json:"applied"`

	// NeedUpgrade are the keys that have changed but are as they were until
	// a new process takes over.
	NeedUpgrade []string `json:"need_upgrade"`
}

// String says it in words.
func (r Reload) String() string {
	if r.File == "" {
		r.File = "reload"
	}
	switch {
	case len(r.Applied)+len(r.NeedUpgrade) == 0:
		return r.File + " has not changed anything"
	case len(r.NeedUpgrade) == 0:
		return r.File + " applied: " + strings.Join(r.Applied, ", ")
	case len(r.Applied) == 0:
		return r.File + " has changes that need an upgrade: " + strings.Join(r.NeedUpgrade, ", ")
	}
	return fmt.Sprintf("%s applied: %s; what needs an upgrade: %s", r.File,
		strings.Join(r.Applied, ", "), strings.Join(r.NeedUpgrade, ", "))
}

// A Failure is why something was not done.
type Failure struct {
	Problems []string `json:"problems"`
}

// Error returns the problems, one on each line.
func (f *Failure) Error() string { return strings.Join(f.Problems, "\n") }

// Text writes s for people.
func (s Status) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: process %d, %s\n", s.Program, s.PID, s.state())
	fmt.Fprintf(&b, "  version      %s\n", s.Version)
	for _, l := range s.Listeners {
		fmt.Fprintf(&b, "  listener     %s %s, service %q: %s\n", l.Network, l.Addr, l.Service, count(l.Connections, "connection"))
	}
	fmt.Fprintf(&b, "  connections  %d\n", s.Connections)
	fmt.Fprintf(&b, "  requests     %d in hand, %d since the start\n", s.Requests.Active, s.Requests.Total)
	if s.Requests.Rejected > 0 {
		fmt.Fprintf(&b, "  rejected     %s\n", s.Requests.rejections())
	}
	if s.ConfFile != "" {
		fmt.Fprintf(&b, "  file         %s\n", s.ConfFile)
	}
	if s.Drain != nil {
		fmt.Fprintf(&b, "  %v\n", *s.Drain)
	}
	return b.String()
}

// state returns, for example, "running for 3.1s", or "draining, started 3.1s
// ago": how long a process has been in another state than that is not known.
func (s Status) state() string {
	if s.Phase == "running" && s.Error == "" {
		return fmt.Sprintf("running for %v", uptime(s.Uptime))
	}
	state := s.Phase
	if s.Error != "" {
		state += ", not healthy: " + s.Error
	}
	return fmt.Sprintf("%s, started %v ago", state, uptime(s.Uptime))
}

// uptime returns seconds as a duration that is easy to read.
func uptime(seconds float64) time.Duration {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
