// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var sample = time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)

func TestParseDate(t *testing.T) {
	t.Parallel()
	leap := time.Date(2016, time.February, 29, 23, 59, 59, 0, time.UTC)
	tests := []struct {
		in   string
		want time.Time // zero: rejected
	}{
		{"Sun, 06 Nov 1994 08:49:37 GMT", sample},
		{"Sunday, 06-Nov-94 08:49:37 GMT", sample},
		{"Sun Nov  6 08:49:37 1994", sample},
		{"Sun Nov 06 08:49:37 1994", sample},
		{"sun, 06 NOV 1994 08:49:37 gmt", sample},
		{"sunday, 06-nov-94 08:49:37 utc", sample},
		{"Sun, 06 Nov 1994 08:49:37 UTC", sample},
		{"Fri, 06 Nov 1994 08:49:37 GMT", sample}, // it was a Sunday
		{"Mon, 29 Feb 2016 23:59:59 GMT", leap},
		{"Mon, 29 Feb 2016 23:59:60 GMT", leap.Add(time.Second)},
		{"Sat, 01 Jan 0000 00:00:00 GMT", time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"Fri, 31 Dec 9999 23:59:59 GMT", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{"", time.Time{}}, {"0", time.Time{}}, {"-1", time.Time{}}, {", ", time.Time{}}, {"Sun, ", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37 EST", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37 +0000", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37 GMT ", time.Time{}},
		{" Sun, 06 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun,  6 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 6 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 94 08:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 8:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:37.5 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 24:00:00 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 08:60:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 08:49:61 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 -8:49:37 GMT", time.Time{}},
		{"Sun, 06 Nov 1994 08.49.37 GMT", time.Time{}},
		{"Sun, 00 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 31 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 29 Feb 2015 08:49:37 GMT", time.Time{}},
		{"Sun, 06 Nvo 1994 08:49:37 GMT", time.Time{}},
		{"Sun, 06 unN 1994 08:49:37 GMT", time.Time{}},
		{"Sub, 06 Nov 1994 08:49:37 GMT", time.Time{}},
		{"unM, 06 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Sund, 06-Nov-94 08:49:37 GMT", time.Time{}},
		{"Sun, 06-Nov-94 08:49:37 GMT", time.Time{}},
		{"Sunday, 06-Nov-1994 08:49:37 GMT", time.Time{}},
		{"Sunday, 06-Nov-x4 08:49:37 GMT", time.Time{}},
		{"Sun Nov  6 08:49:37 1994 GMT", time.Time{}},
		{"Sun Nov   08:49:37 1994  ", time.Time{}},
		{"Sun Nov  6 08:49:37   94", time.Time{}},
	}
	for _, tt := range tests {
		got, ok := ParseDate(tt.in)
		if ok == tt.want.IsZero() || !got.Equal(tt.want) || got.Location() != time.UTC {
			t.Errorf("ParseDate(%q) = %v, %v, want %v", tt.in, got, ok, tt.want)
		}
	}
}

func TestParseDateCentury(t *testing.T) {
	t.Parallel()
	date := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 12, 0, 0, 0, time.UTC)
	}
	tests := []struct {
		in   string
		now  time.Time
		want int
	}{
		{"01-Jun-26", date(2026, 11, 22), 2026},
		{"01-Jun-75", date(2026, 11, 22), 2075},
		{"01-Jun-76", date(2026, 11, 22), 2076}, // within 50 years
		{"31-Dec-76", date(2026, 11, 22), 1976}, // more than 50 years
		{"01-Jun-77", date(2026, 11, 22), 1977},
		{"01-Jun-99", date(2026, 11, 22), 1999},
		{"01-Jun-00", date(2026, 11, 22), 2000},
		{"01-Jun-70", date(2026, 1, 1), 2070},
		{"01-Jun-70", date(2070, 1, 1), 2070},
		{"29-Feb-96", date(2026, 1, 1), 1996},
		{"29-Feb-00", date(2026, 1, 1), 2000},
	}
	for _, tt := range tests {
		got, ok := parseRFC850("Monday", tt.in+" 08:49:37 GMT", tt.now)
		if !ok || got.Year() != tt.want {
			t.Errorf("%s seen in %v = %v, %v, want the year %d", tt.in, tt.now.Year(), got, ok, tt.want)
		}
	}
}

func TestAppendDate(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("east", 5*60*60)
	for _, tm := range []time.Time{
		sample, sample.In(east), sample.Add(999 * time.Millisecond),
		time.Unix(0, 0), time.Unix(-1, 999), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		if got, want := string(AppendDate(nil, tm)), tm.UTC().Format(http.TimeFormat); got != want {
			t.Errorf("AppendDate(%v) = %q, want %q", tm, got, want)
		}
	}
	for year, want := range map[int]string{-5: "0000", 12345: "9999"} {
		got := string(AppendDate([]byte("x"), time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC)))
		if len(got) != 30 || got[13:17] != want {
			t.Errorf("year %d is written as %q, want year %s", year, got, want)
		}
	}
}

func TestDate(t *testing.T) {
	// Not parallel: it looks at what is shared by the process.
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for range 5 {
			now := time.Now()
			if got, want := Date(now), now.UTC().Format(http.TimeFormat); got != want {
				t.Errorf("Date after %v = %q, want %q", now.Sub(start), got, want)
			}
			time.Sleep(400 * time.Millisecond)
		}
		if got, want := Date(sample), sample.Format(http.TimeFormat); got != want {
			t.Errorf("Date of an earlier time = %q, want %q", got, want)
		}
	})
	before := lastDate.Load()
	Date(sample.Add(time.Millisecond))
	if lastDate.Load() != before {
		t.Error("Date formatted the same second twice")
	}
}

func TestDateConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				now := sample.Add(time.Duration(g+i/10) * time.Second)
				if got, want := Date(now), string(AppendDate(nil, now)); got != want {
					t.Errorf("Date(%v) = %q, want %q", now, got, want)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzParseDate(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT", int64(784111777))
	f.Add("Sunday, 06-Nov-94 08:49:37 GMT", int64(0))
	f.Add("Sun Nov  6 08:49:37 1994", int64(-1))
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		if got, ok := ParseDate(s); ok {
			text := string(AppendDate(nil, got))
			if again, ok := ParseDate(text); got.Year() <= 9999 && (!ok || !again.Equal(got)) {
				t.Errorf("%q is %v, written as %q, read as %v, %v", s, got, text, again, ok)
			}
		}
		tm := time.Unix(unix%250_000_000_000, 0)
		text := string(AppendDate(nil, tm))
		if len(text) != len(http.TimeFormat) {
			t.Errorf("AppendDate(%v) = %q, want %d bytes", tm, text, len(http.TimeFormat))
		}
		got, ok := ParseDate(text)
		if year := tm.UTC().Year(); year >= 0 && year <= 9999 && (!ok || !got.Equal(tm)) {
			t.Errorf("%v is written as %q and read as %v, %v", tm, text, got, ok)
		}
		if Date(tm) != text {
			t.Errorf("Date(%v) = %q, want %q", tm, Date(tm), text)
		}
	})
}
