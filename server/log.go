// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
)

// logEnv is the environment variable that says what is logged.
const logEnv = "BELAY_LOG"

// levels are the names of log levels.
var levels = map[string]slog.Level{
	"off":   math.MaxInt,
	"error": slog.LevelError,
	"warn":  slog.LevelWarn,
	"info":  slog.LevelInfo,
	"debug": slog.LevelDebug,
	"trace": slog.LevelDebug - 4,
}

// A logSpec says from which level on each package logs.
type logSpec struct {
	level slog.Level            // of packages not named
	pkgs  map[string]slog.Level // by name
}

// parseLogSpec parses a list such as "warn,upstream=debug". The error names
// every part that is wrong; the others count.
func parseLogSpec(text string) (logSpec, error) {
	spec := logSpec{level: slog.LevelInfo, pkgs: make(map[string]slog.Level)}
	var errs []error
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		pkg, name, hasPkg := strings.Cut(part, "=")
		if !hasPkg {
			name = pkg
		}
		level, ok := levels[strings.ToLower(strings.TrimSpace(name))]
		pkg = strings.TrimSpace(pkg)
		switch {
		case !ok || hasPkg && pkg == "":
			errs = append(errs, fmt.Errorf("%s: %q is wrong: want error, warn, info, debug, trace or off, or package=level", logEnv, part))
		case hasPkg:
			spec.pkgs[pkg] = level
		default:
			spec.level = level
		}
	}
	return spec, errors.Join(errs...)
}

// A logs makes loggers that write to one place.
type logs struct {
	spec    logSpec
	handler slog.Handler // takes all levels
}

func newLogs(w io.Writer, spec logSpec) logs {
	return logs{spec, slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.Level(math.MinInt)})}
}

// logger returns the logger of a package.
func (l logs) logger(pkg string) *slog.Logger {
	level, ok := l.spec.pkgs[pkg]
	if !ok {
		level = l.spec.level
	}
	return slog.New(levelHandler{l.handler, level}).With("pkg", pkg)
}

// A levelHandler passes on records from a level on.
type levelHandler struct {
	slog.Handler
	level slog.Level
}

func (h levelHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelHandler{h.Handler.WithAttrs(attrs), h.level}
}

func (h levelHandler) WithGroup(name string) slog.Handler {
	return levelHandler{h.Handler.WithGroup(name), h.level}
}
