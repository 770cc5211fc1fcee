// CoreDNS with the few plugins that a cluster's own names need, and names from a file.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func init() {
	// The order in which a question passes through them.
	dnsserver.Directives = []string{"bind", "ready", "errors", "hosts", "cache", "kubernetes"}
}

func main() {
	coremain.Run()
}
