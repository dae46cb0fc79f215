#!/usr/bin/env bash
# Runs on the lab's laptop: writes Services of its own, then prints who has each address, one line per answer:
#   TOOL ADDRESS MAC
# as `ferrolb status` of every node says it, as arping, ndisc6, the kernel's neighbour table and tcpdump see it.
set -euo pipefail

frames=$(mktemp)
tcpdump -i eth0 -n -U -w "$frames" 'arp or (icmp6 and ip6[40] == 136)' 2>/dev/null &
capture=$!
until [ -s "$frames" ]; do sleep 0.05; done

{
  cat <<'YAML'
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: mine, namespace: metallb-system}
spec:
  addresses: [192.168.1.100-192.168.1.109, 'fd00:1::100-fd00:1::109']
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: mine, namespace: metallb-system}
spec:
  ipAddressPools: [mine]
YAML
  for name in one two three four; do
    cat <<YAML
---
apiVersion: v1
kind: Service
metadata:
  name: $name
  namespace: mine
  annotations: {metallb.io/address-pool: mine}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  ports: [{port: 80}]
YAML
  done
} >"$FERROLB_MANIFESTS/mine.yaml"

nodes="node-a node-b node-c"
announced() {
  on "$1" ferrolb status -o json | jq '[.services[] | select(.namespace == "mine" and .state == "announced")] | length'
}
for node in $nodes; do
  for _ in $(seq 200); do
    [ "$(announced "$node")" = 4 ] && break
    sleep 0.05
  done
done

for node in $nodes; do
  on "$node" ferrolb status -o json |
    jq -r '.services[] | .mac as $mac | .addresses[] | "status-\(.) \($mac)"' | sed "s/^status-/status-of-$node /"
done
addresses=$(ferrolb status -o json | jq -r '.services[].addresses[]')
for address in $addresses; do
  case $address in
    *:*)
      ndisc6 -q -m -r 3 -w 500 "$address" eth0 | sed "s/^ */ndisc6 $address /"
      curl -s -m 0.3 "http://[$address]/" >/dev/null || true
      ;;
    *)
      arping -r -i eth0 -c 3 "$address" | sed "s/^/arping $address /"
      curl -s -m 0.3 "http://$address/" >/dev/null || true
      ;;
  esac
  ip -j neigh show to "$address" dev eth0 | jq -r '.[] | select(.lladdr) | "neighbour \(.dst) \(.lladdr)"'
done

# Announcements nobody asked for come for five seconds; what was caught so far must name the same owners.
kill "$capture"
wait "$capture" 2>/dev/null || true
tcpdump -r "$frames" -n -e 2>/dev/null |
  sed -n -E 's/^[^ ]+ ([0-9a-f:]{17}) > ff:ff:ff:ff:ff:ff.* Reply ([0-9.]+) is-at .*/tcpdump \2 \1/p
             s/^[^ ]+ ([0-9a-f:]{17}) > 33:33:00:00:00:01.* tgt is (fd00:1::1[0-9a-f]+),.*/tcpdump \2 \1/p'
