// Command reverseproxy is httputil.ReverseProxy with as little around it as a
// program can have: what a Go programmer gets without a proxy of their own. It
// is one of the subjects of package perf.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "HOST:PORT to listen on")
	upstreams := flag.String("upstreams", "", "HOST:PORT of the upstreams, with commas, used in turn")
	flag.Parse()
	err := serve(*listen, strings.Split(*upstreams, ","))
	fmt.Fprintln(os.Stderr, "reverseproxy:", err)
	os.Exit(1)
}

func serve(listen string, upstreams []string) error {
	var next atomic.Uint64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = upstreams[next.Add(1)%uint64(len(upstreams))]
			r.Out.Host = r.In.Host
		},
		// As many idle connections as the load has, else each request dials.
		Transport: &http.Transport{MaxIdleConnsPerHost: 4096, IdleConnTimeout: time.Hour},
	}
	srv := &http.Server{Addr: listen, Handler: proxy, ReadHeaderTimeout: time.Minute}
	return srv.ListenAndServe()
}
