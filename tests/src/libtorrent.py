"""libtorrent in the part of a plain client: libtorrent.py seed|leech|check|idle TORRENT DIR PORT [PEER_PORT...]

A leecher ends when everything is there and written, a check when everything was read; a seeder says "ready", and stays until it is ended.
For idle, TORRENT is a folder of torrents: all of them are read and seeded."""

import os
import sys
import time

import libtorrent as lt

role, torrent, folder, port = sys.argv[1:5]
session = lt.session({
    "listen_interfaces": f"127.0.0.1:{port}",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "connections_limit": 1000,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": lt.alert.category_t.storage_notification | lt.alert.category_t.status_notification,
})
if role == "idle":
    session.apply_settings({"active_limit": -1, "active_seeds": -1, "active_checking": 4})
    for name in sorted(os.listdir(torrent)):
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(os.path.join(torrent, name))
        params.save_path = folder
        session.async_add_torrent(params)
    while True:
        time.sleep(60)
params = lt.add_torrent_params()
params.ti = lt.torrent_info(torrent)
params.save_path = folder
params.trackers = []
if role == "seed":
    params.have_pieces = [True] * params.ti.num_pieces()
    params.flags |= lt.torrent_flags.seed_mode
handle = session.add_torrent(params)
handle.replace_trackers([])
if role == "seed":
    while not handle.status().is_seeding:
        time.sleep(0.02)
    for peer in sys.argv[5:]:
        handle.connect_peer(("127.0.0.1", int(peer)))
    print("ready", flush=True)
    while True:
        time.sleep(60)
if role == "check":
    while not handle.status().is_seeding:
        time.sleep(0.02)
    sys.exit(0)
for peer in sys.argv[5:]:
    handle.connect_peer(("127.0.0.1", int(peer)))
while not handle.status().is_seeding:
    time.sleep(0.02)
handle.flush_cache()
while not any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts()):
    session.wait_for_alert(100)
