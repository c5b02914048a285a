"""A real DHCP client in a container: it takes the address off eth0 first, as many images do at boot."""

from __future__ import annotations

import pytest

from tests.support.netlab.product import Network

pytestmark = pytest.mark.root

#: What distributions' scripts for udhcpc do, shortened.
SCRIPT = """\
#!/bin/sh
case $1 in
deconfig) ip -4 addr flush dev $interface; echo taken away;;
bound|renew)
    ip addr add $ip/$mask dev $interface
    ip route replace default via $router dev $interface
    echo "$1 $ip/$mask router $router dns $dns name $hostname domain $domain lease $lease from $serverid";;
nak) echo "refused: $message";;
esac
"""
ASK = "udhcpc -f -q -n -t 5 -T 1 -i eth0 -s /ask"


def dhcp(network: Network, name: str, command: str) -> str:
    """The output of a container that runs this command and then sleeps."""
    network.create(name)
    script = network.rootfs(name) / "ask"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    network.daemon.set(name, command=f"/bin/sh -c '{command}; echo done; exec sleep 100000'")
    network.start(name)
    assert network.daemon.says(name, "done"), network.daemon.log(name)
    return network.daemon.log(name)


def test_a_client_gets_back_what_it_took_off(on_host: Network) -> None:
    said = dhcp(on_host, "one", f"{ASK}; ip addr show dev eth0; ip route")
    assert "taken away" in said
    granted = "bound 10.11.0.2/24 router 10.11.0.1 dns 10.11.0.1 name one domain nspawn lease 4294967295"
    assert f"{granted} from 10.11.0.1" in said
    assert "inet 10.11.0.2/24" in said
    assert "default via 10.11.0.1 dev eth0" in said
    on_host["one"].goes_by("wifi")


def test_each_gets_its_own_and_another_address_is_refused(on_host: Network) -> None:
    first = dhcp(on_host, "one", ASK)
    second = dhcp(on_host, "two", f"{ASK} -r 10.11.0.2")
    assert "bound 10.11.0.2/24" in first
    assert "bound 10.11.0.3/24" in second, second


def test_it_is_answered_after_the_spawner_was_killed(on_host: Network) -> None:
    dhcp(on_host, "one", ASK)
    on_host.daemon.kill_spawner()
    assert "bound 10.11.0.3/24" in dhcp(on_host, "two", ASK)
