#!/bin/sh
# Runs a command as ranks in two network namespaces of this machine, with nothing between them but
# TCP over a virtual cable, as on two machines. Needs root, ip (iproute2) and Open MPI:
#
#   tools/mpinetns.sh bin/vlmtool train …             one rank in each
#   RANKS=2 tools/mpinetns.sh bin/vlmtool train …     two in each
#
# ip -n patchwork-a link set cable down, meanwhile, cuts the cable.
set -eu

if [ "${1:-}" = --rsh ]; then # called by mpirun: --rsh HOST COMMAND…
	shift 2
	exec ip netns exec patchwork-b unshare --uts sh -c 'hostname patchwork-b; eval "$*"' sh "$@"
fi

end() {
	ip netns del patchwork-a 2>/dev/null || true
	ip netns del patchwork-b 2>/dev/null || true
}
trap end EXIT
end
ip netns add patchwork-a
ip netns add patchwork-b
ip -n patchwork-a link add cable type veth peer name cable netns patchwork-b
for ns in a b; do
	ip -n patchwork-$ns link set lo up
	ip -n patchwork-$ns link set cable up
done
ip -n patchwork-a address add 10.77.0.1/24 dev cable
ip -n patchwork-b address add 10.77.0.2/24 dev cable

ranks=${RANKS:-1}
self=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
ip netns exec patchwork-a unshare --uts sh -c 'hostname patchwork-a; exec "$@"' sh \
	mpirun --allow-run-as-root --oversubscribe --host "10.77.0.1:$ranks,10.77.0.2:$ranks" -np $((2 * ranks)) --bind-to none \
	--mca plm_rsh_agent "$self --rsh" --mca btl tcp,self --mca pml ob1 \
	--mca btl_tcp_if_include cable --mca oob_tcp_if_include cable \
	"$@"
