// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"time"
)

// defaultPoll is how often files are looked at. A look costs one stat per
// file.
const defaultPoll = time.Second

// settled is how old a file must be for its time to tell one content from the
// next: file systems round it.
const settled = 2 * time.Second

// watched is a group of files whose contents make one thing together.
type watched struct {
	files []string
	use   func(contents [][]byte) error // takes new contents over, or says what is wrong with them

	infos    []os.FileInfo // at the last look, nil if a file was missing
	hash     [32]byte      // of the contents in use
	loaded   bool          // hash is set
	again    bool          // look at the contents even if the files seem the same
	reported bool          // what is wrong with the files as they are has been reported
}

// load reads the files and uses what they have. changed is false if that is
// in use already.
func (w *watched) load() (changed bool, err error) {
	contents := make([][]byte, len(w.files))
	hash := sha256.New()
	for i, name := range w.files {
		if contents[i], err = os.ReadFile(name); err != nil {
			return false, fmt.Errorf("read certificates: %w", err)
		}
		sum := sha256.Sum256(contents[i])
		hash.Write(sum[:])
	}
	sum := [32]byte(hash.Sum(nil))
	if w.loaded && sum == w.hash {
		return false, nil
	}
	if err := w.use(contents); err != nil {
		return false, err
	}
	w.hash, w.loaded = sum, true
	return true, nil
}

// reload is load for files that may have changed. It reports every problem.
func (w *watched) reload() (changed bool, err error) {
	w.infos = w.stat()
	changed, err = w.load()
	w.again = err == nil && !w.quiet()
	w.reported = err != nil
	return changed, err
}

// poll is reload if the files seem to have changed. A problem is reported when
// it is still there at the next look: until then, the files may be half
// written, or the key may be one file too old for its certificate.
func (w *watched) poll() (changed bool, err error) {
	infos := w.stat()
	same := sameInfos(infos, w.infos)
	if same && !w.again {
		return false, nil
	}
	w.infos = infos
	if changed, err = w.load(); err == nil {
		w.again, w.reported = !w.quiet(), false
		return changed, nil
	}
	if !same {
		w.again, w.reported = true, false
		return false, nil
	}
	w.again = false
	if w.reported {
		return false, nil
	}
	w.reported = true
	return false, err
}

// stat returns what the file system says about the files, or nil if one of
// them cannot be found.
func (w *watched) stat() []os.FileInfo {
	infos := make([]os.FileInfo, len(w.files))
	for i, name := range w.files {
		var err error
		if infos[i], err = os.Stat(name); err != nil {
			return nil
		}
	}
	return infos
}

// quiet reports whether no file was written lately. Otherwise it could be
// written again without a new time.
func (w *watched) quiet() bool {
	for _, info := range w.infos {
		if time.Since(info.ModTime()) < settled {
			return false
		}
	}
	return true
}

// sameInfos reports whether files are the same and have not been written
// between two looks.
func sameInfos(a, b []os.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// every calls f in intervals until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) error {
	if interval < 0 {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			f()
		case <-ctx.Done():
			return nil
		}
	}
}

// hasPEM returns an error if content cannot be PEM.
func hasPEM(name string, content []byte) error {
	if !bytes.Contains(content, []byte("-----BEGIN ")) {
		return fmt.Errorf("%s: it has no PEM block", name)
	}
	return nil
}
