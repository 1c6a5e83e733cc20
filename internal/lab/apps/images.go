package apps

import (
	"slices"
	"strings"
)

// Image is a container image whose program is built in.
type Image struct {
	// Repository is the image's name without registry host, tag and digest.
	Repository string
	// Program is the name of the built-in program that is the image's entry
	// point.
	Program string
	// Paths are the absolute paths at which the image holds its program, for
	// containers that call it from a command or a script of their own.
	Paths []string
}

// Images returns the images whose programs are built in, sorted by name.
func Images() []Image {
	return []Image{
		{Repository: "buoyantio/bb", Program: "bb", Paths: []string{"/out/bb", "/bb"}},
		{
			Repository: "buoyantio/slow_cooker", Program: "slow_cooker",
			Paths: []string{"/slow_cooker/slow_cooker", "/go/bin/slow_cooker"},
		},
		{Repository: "gateway-api/echo-advanced", Program: "echo", Paths: []string{"/usr/local/bin/server"}},
	}
}

// ImageNames returns the repositories of Images, for messages.
func ImageNames() []string {
	images := Images()
	names := make([]string, len(images))
	for i, im := range images {
		names[i] = im.Repository
	}
	return names
}

// ForImage finds the built-in image of a reference such as
// "buoyantio/bb:v0.0.6" or "docker.io/buoyantio/bb@sha256:...". Any tag and any
// digest is taken: there is one version of each built-in program.
func ForImage(ref string) (Image, bool) {
	repo := repository(ref)
	images := Images()
	i := slices.IndexFunc(images, func(im Image) bool { return im.Repository == repo })
	if i < 0 {
		return Image{}, false
	}
	return images[i], true
}

// repository cuts an image reference down to its repository: digest, tag and
// registry host go. The first component is a host when it has a dot or a
// colon, or is "localhost" (the rule of the distribution reference grammar).
func repository(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		ref = ref[:colon]
	}
	if host, rest, ok := strings.Cut(ref, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		ref = rest
	}
	return ref
}
