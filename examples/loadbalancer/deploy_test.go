// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/internal/app/apptest"
	"github.com/belay-proxy/belay/proxytest"
)

const deployPage = "../../docs/guide/deploy.md"

// extraArgs is the environment variable with arguments for a program that is
// started by a document, which knows nothing of tests.
const extraArgs = "LOADBALANCER_TEST_ARGS"

// mainWithArgs is main with these arguments before the others.
func mainWithArgs() {
	os.Args = append(append(os.Args[:1:1], strings.Fields(os.Getenv(extraArgs))...), os.Args[1:]...)
	os.Unsetenv(extraArgs) // a daemon is started with os.Args
	main()
}

// TestDeployPage runs the commands of the guide, in order. The only things that
// are different are the directory for temporary files, and the addresses.
func TestDeployPage(t *testing.T) {
	t.Parallel()
	conf := apptest.Blocks(t, deployPage, "yaml conf.yaml")
	if len(conf) != 1 || conf[0] != quickStart {
		t.Fatalf("conf.yaml is %q, want that of the quick start", conf)
	}
	blocks := apptest.Blocks(t, deployPage, "sh load_balancer")
	if len(blocks) != 9 {
		t.Fatalf("%d blocks, want 9: adapt the test", len(blocks))
	}
	origin := proxytest.NewOrigin(t, proxytest.Body("hello"))
	sh := apptest.NewShell(t, map[string]string{"load_balancer": "loadbalancer with args"})
	addr := "unix:" + filepath.Join(sh.Dir, "http")
	sh.Setenv(extraArgs, "--http "+addr+" --backend "+origin.Addr())
	adapt := strings.NewReplacer("/tmp/", sh.Dir+"/").Replace
	sh.Write("conf.yaml", adapt(conf[0]))
	get := func() {
		t.Helper()
		proxytest.NewClient(t, addr).Get("/").Check(t, 200, "hello")
	}
	run := func(i int) string { t.Helper(); return sh.Run(adapt(blocks[i])) }
	pid := func() string { return read(t, filepath.Join(sh.Dir, "load_balancer.pid")) }

	if out := run(0); !strings.Contains(out, "--conf FILE") {
		t.Errorf("-h printed %q", out)
	}
	run(1) // -d
	get()
	run(2) // SIGTERM
	sh.WaitEnded()
	if out := run(3); !strings.Contains(out, "configuration test passed") {
		t.Errorf("-t printed %q", out)
	}
	run(4) // -c conf.yaml -d
	get()
	first := pid()
	run(5) // logrotate
	sh.Eventually("the log is opened again", func() bool {
		text, err := os.ReadFile(filepath.Join(sh.Dir, "load_balancer_err.log"))
		return err == nil && strings.Contains(string(text), "log opened again")
	})
	run(6) // SIGQUIT, then the new one
	get()
	second := pid()
	run(7) // the new one, then SIGQUIT
	get()
	if third := pid(); first == second || second == third {
		t.Errorf("process ids %q, %q and %q, want three", first, second, third)
	}
	if !strings.Contains(blocks[8], "belay stop") {
		t.Errorf("block 8 is %q, want that of belay, which is tested with it", blocks[8])
	}
	sh.Run("pkill -SIGTERM load_balancer")
	sh.WaitEnded()
	if left, _ := filepath.Glob(filepath.Join(sh.Dir, "load_balancer.*")); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
}
