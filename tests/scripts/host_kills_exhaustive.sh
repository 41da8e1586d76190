# Twenty rounds of what host_kills.sh samples.
rounds=20
. "$(dirname "$0")/host_kills.sh"
