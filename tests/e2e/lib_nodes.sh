# Virtual nodes with their own network on this machine (tests/cluster/netns.sh); skipped where the
# tools or the rights for them are missing.
# shellcheck shell=bash
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
nodes=tests/cluster/netns.sh
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for tool in tc ip unshare nsenter; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done

nodes_up() { # COUNT
    export MINI_STATE=$WORK/nodes
    CLEANUP+=("$nodes down")
    "$nodes" up "$1" >"$WORK/nodes.log" 2>&1 || skip "cannot make namespaces: $(tail -1 "$WORK/nodes.log")"
    export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0
    export OMPI_MCA_plm_rsh_agent="$PWD/$nodes agent"
}

nodes_rate() { # RATE NODE...
    local rate=$1 node
    shift
    for node in "$@"; do "$nodes" rate "$node" "$rate" || skip "this kernel cannot limit a rate"; done
}

# on_nodes N SECONDS PROGRAM ARGUMENT...: one rank on each of node1 .. nodeN.
on_nodes() {
    local count=$1 limit=$2 program
    program=$(realpath "$3")
    shift 3
    "$nodes" exec ctl timeout -k 5 "$limit" mpirun --quiet -n "$count" \
        --host "$(seq -s , -f 'node%g' "$count")" "$program" "$@"
}
