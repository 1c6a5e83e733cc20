package source

import "testing"

func TestWritable(t *testing.T) {
	for path, want := range map[string]bool{
		"": true, "/": true, "x": true, "/a/b?c=d%": true, "/%2F": true, "/{id}|x": true,
		"/%": false, "/%2": false, "/%zz": false, "/a b": false, "/a#b": false, `/a\b`: false, "/é": false, "/a?b#c": false, "/a?b c": false,
	} {
		if writable(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
	for host, want := range map[string]bool{
		"a": true, "a.b-c_d~e": true, "a:80": true, "127.0.0.1": true, "[::1]": true, "[::1]:80": true,
		"": false, "(": false, "a b": false, "u@h": false, "a:": false, "a:0": false, "a:080": false, "a:65536": false, "a:+1": false,
		"[::1": false, "[::1]80": false, "[::1]:": false, "[a]": false, "::1": false, "a/b": false, ":80": false, "[127.0.0.1]": false,
	} {
		if authority(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
