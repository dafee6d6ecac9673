// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func isText(t reflect.Type) bool {
	return t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(textType)
}

func isInt(t reflect.Type) bool {
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uintptr
}

// setScalar sets v, which must be settable, to what text says in the notation
// of a file.
func setScalar(v reflect.Value, text, unit string) error {
	if isText(v.Type()) {
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	if v.Type() == durationType {
		d, err := parseDuration(text, unit)
		if err == nil {
			v.SetInt(int64(d))
		}
		return err
	}
	switch k := v.Kind(); {
	case k == reflect.String:
		v.SetString(text)
	case k == reflect.Bool:
		b, err := parseBool(text)
		if err != nil {
			return err
		}
		v.SetBool(b)
	case v.CanInt():
		return setInt(v, text, unit)
	case v.CanUint():
		return setUint(v, text, unit)
	case v.CanFloat():
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("want a number, got %s", clip(text))
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("cannot be set from a file: its type is %v", v.Type())
	}
	return nil
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true", "True", "TRUE", "yes", "on":
		return true, nil
	case "false", "False", "FALSE", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("want true or false, got %s", clip(text))
}

func setInt(v reflect.Value, text, unit string) error {
	n, err := parseInt(text, unit)
	if err != nil {
		return err
	}
	if v.OverflowInt(n) {
		return outOfRange(text)
	}
	v.SetInt(n)
	return nil
}

func setUint(v reflect.Value, text, unit string) error {
	if unit == "" && !ambiguous(text) {
		if n, err := strconv.ParseUint(text, 0, 64); err == nil && !v.OverflowUint(n) {
			v.SetUint(n)
			return nil
		}
	}
	n, err := parseInt(text, unit)
	if err != nil {
		return err
	}
	if n < 0 || v.OverflowUint(uint64(n)) {
		return outOfRange(text)
	}
	v.SetUint(uint64(n))
	return nil
}

func outOfRange(text string) error {
	return fmt.Errorf("is %s, which is out of range", clipPlain(text))
}

// ambiguous reports whether text is a number with a leading zero, which is
// octal to some readers and decimal to others.
func ambiguous(text string) bool {
	digits := strings.TrimLeft(text, "+-")
	return len(digits) > 1 && digits[0] == '0' && (digits[1] == '_' || digits[1] >= '0' && digits[1] <= '9')
}

// parseInt reads a whole number in decimal or with 0x, 0o or 0b in front, or
// with unit "bytes" a size.
func parseInt(text, unit string) (int64, error) {
	if ambiguous(text) {
		return 0, fmt.Errorf("want a whole number without leading zero (0o17 is octal), got %s", clip(text))
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, strconv.ErrRange) {
		return 0, outOfRange(text)
	}
	if unit != "bytes" {
		return 0, fmt.Errorf("want a whole number, got %s", clip(text))
	}
	return parseSize(text)
}

// sizes are the units of a size and how many bytes they are.
var sizes = map[string]int64{
	"B":  1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseSize reads a number of bytes with a unit, such as "10MiB", "1.5 GB" or
// "64KiB".
func parseSize(text string) (int64, error) {
	i := strings.LastIndexAny(text, "0123456789.") + 1
	scale, ok := sizes[strings.TrimSpace(text[i:])]
	number, err := strconv.ParseFloat(text[:i], 64)
	if !ok || err != nil || strings.ContainsAny(text[:i], "eExXpP_") {
		return 0, fmt.Errorf("want a size such as 10MiB, got %s", clip(text))
	}
	if n, err := strconv.ParseInt(text[:i], 10, 64); err == nil {
		if n > math.MaxInt64/scale || n < math.MinInt64/scale {
			return 0, outOfRange(text)
		}
		return n * scale, nil
	}
	bytes := number * float64(scale)
	if bytes >= math.MaxInt64 || bytes <= math.MinInt64 {
		return 0, outOfRange(text)
	}
	return int64(bytes), nil
}

// parseDuration reads a duration such as "30s", "1h30m" or "7d". With unit "s"
// a number alone is in seconds.
func parseDuration(text, unit string) (time.Duration, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && (unit == "s" || n == 0) {
		const most = int64(math.MaxInt64 / time.Second)
		if n > most || n < -most {
			return 0, outOfRange(text)
		}
		return time.Duration(n) * time.Second, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		const most = int64(math.MaxInt64 / (24 * time.Hour))
		if n, err := strconv.ParseInt(days, 10, 64); err == nil && n <= most && n >= -most {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("want a duration such as 30s or 1h30m, got %s", clip(text))
	}
	return d, nil
}

// clip returns text quoted, and shortened if it is long.
func clip(text string) string {
	return strconv.Quote(clipPlain(text))
}

func clipPlain(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
