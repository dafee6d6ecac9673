// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/belay-proxy/belay/config/configdoc"
)

var update = flag.Bool("update", false, "write docs/config.md")

const referenceHead = `# Configuration of a server

<!-- Written by "go generate ./config" from the comments in config/config.go. -->

These are the keys at the top level of the file that the option ` + "`-c`" + ` names. All may be left out. Zero means the default and
negative means off or unlimited. Durations are written ` + "`500ms`, `30s`, `1h30m` or `7d`" + `; where the type says seconds, a number alone
is one, too. An unknown key is an error, except for those that begin with ` + "`x-`" + `, which are a place for anchors; a program
may declare further keys of its own. ` + "`-t`" + ` checks a file and reports everything that is wrong with it.

`

// TestReference checks that docs/config.md says what config.go says.
func TestReference(t *testing.T) {
	const file = "../docs/config.md"
	want := bytes.NewBufferString(referenceHead)
	if err := configdoc.Write(want, ".", "Config"); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is out of date: run go generate ./config", file)
	}
}
