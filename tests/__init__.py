"""The tests of wsprobe; none needs the network, all traffic stays on loopback."""
