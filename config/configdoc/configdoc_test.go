// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package configdoc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const source = `package p

type Top struct {
	Base ` + "`yaml:\",inline\"`" + `

	// Hosts are | tried after
	// NameOf.
	Hosts []Host ` + "`yaml:\"hosts,required\"`" + `

	// NameOf is a name.
	NameOf string ` + "`yaml:\"name_of\"`" + `

	// ByName has some.
	ByName map[string]*Host ` + "`yaml:\"by_name\"`" + `

	untagged int
	Skipped  int ` + "`yaml:\"-\"`" + `
}

type Base struct {
	// Max is large.
	Max int64 ` + "`yaml:\"max\" unit:\"bytes\" default:\"10MiB\"`" + `
}

type Host struct {
	// Wait is a time.
	Wait time.Duration ` + "`yaml:\"wait\" unit:\"s\"`" + `
	// Next is another.
	Next *Host ` + "`yaml:\"next\"`" + `
}
`

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = `| Key | Type | Default | Meaning |
|---|---|---|---|
| ''max'' | size | ''10MiB'' | ''max'' is large. |
| ''hosts'' | list of mapping | required | ''hosts'' are \| tried after ''name_of''. |
| ''hosts[].wait'' | seconds or duration |  | ''wait'' is a time. |
| ''hosts[].next'' | mapping |  | ''next'' is another. |
| ''name_of'' | text |  | ''name_of'' is a name. |
| ''by_name'' | mapping of mapping |  | ''by_name'' has some. |
| ''by_name.<name>.wait'' | seconds or duration |  | ''wait'' is a time. |
| ''by_name.<name>.next'' | mapping |  | ''next'' is another. |
`
	var got strings.Builder
	if err := Write(&got, dir, "Top"); err != nil {
		t.Fatal(err)
	}
	if w := strings.ReplaceAll(want, "''", "`"); got.String() != w {
		t.Errorf("Write =\n%s\nwant\n%s", got.String(), w)
	}
}

func TestWriteErrors(t *testing.T) {
	if err := Write(new(strings.Builder), t.TempDir(), "Top"); err == nil {
		t.Error("Write of a type that is not there: no error")
	}
	if err := Write(new(strings.Builder), filepath.Join(t.TempDir(), "none"), "Top"); err == nil {
		t.Error("Write from a folder that is not there: no error")
	}
}
