"""`studio`: serves the page on this machine until Ctrl-C, and prints the one address that opens it."""

import argparse
import secrets
import socket

from core.errors import HubError
from hparams.loading import section_of_words
from hparams.studio import StudioHParams
from plugins.manager import load_manager
from supervisors.asking import existing, runs_folder

SENDING = 1 << 16  # bytes that the system holds for a slow reader


def studio(options: argparse.Namespace) -> int:
    """Serves `--run FOLDER`, if one is named, and every run beside it."""
    try:
        from supervisors.studio.app import Studio
        from supervisors.studio.wire import server
    except ImportError as error:
        if error.name and error.name.partition(".")[0] in ("starlette", "uvicorn", "anyio", "h11"):
            raise HubError("the studio needs: pip install 'swaptunes[studio]'") from error
        raise
    from supervisors.studio.players import Players

    other = [word for word in options.words if not word.startswith("studio.")]
    if other:
        raise HubError(f'"{other[0]}" cannot be changed here; only studio.* can, e.g. studio --run runs/mamba_remi')
    asked: StudioHParams = section_of_words(StudioHParams(), options.words, "studio.")
    own = existing(options, "studio") if options.run else None
    players = Players(load_manager(), runs_folder(), own, asked.models)
    names = list(players.folders())
    if not names:
        raise HubError(
            f"there is no trained model in {runs_folder()}; train one first, or name it: studio --run FOLDER"
        )
    players.get(names[0])
    listening = listening_on(asked.port)
    token = secrets.token_urlsafe(24)
    running = Studio(players, asked)
    try:
        port = listening.getsockname()[1]
        print(f"studio  http://127.0.0.1:{port}/?token={token}  until Ctrl-C", flush=True)
        server(running.app(token)).run(sockets=[listening])
    finally:
        running.close()
        listening.close()
    return 0


def listening_on(port: int) -> socket.socket:
    """A socket of this machine alone; HubError for a port in use."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENDING)
    try:
        found.bind(("127.0.0.1", port))
        found.listen(256)
    except OSError as error:
        found.close()
        raise HubError(
            f"port {port} cannot be had ({error.strerror}); give another studio.port=, or 0 for any"
        ) from error
    return found
