"""``distlenet draw``: a page to draw digits on.

distlenet draw
distlenet draw runs/a --port 0 --open
distlenet draw --allow-host '*.app.github.dev'    behind a proxy
"""

import argparse

from distlenet.commands.options import add_checkpoint, add_trust, make_trust, whole
from distlenet.streams import note


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_checkpoint(parser, default="pretrained")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve the page on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=whole(0, 2**16 - 1),
        default=8028,
        help="port of the page; 0 finds a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also answer under this name of a proxy or in DNS, or *.DOMAIN; may be repeated",
    )
    add_trust(parser)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(args: argparse.Namespace) -> int:
    """Run the command until Ctrl-C or SIGTERM; return the exit code."""
    from distlenet.errors import UsageError, missing_extra

    try:
        from distlenet.page.app import create_app
        from distlenet.page.guard import Guard
        from distlenet.page.server import ended_by_signals, listen, serve, url_of
    except ModuleNotFoundError as error:
        raise UsageError(missing_extra("the drawing page", str(error.name), "draw")) from error
    from distlenet.reader import Reader
    from distlenet.runs.choice import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint, trust=make_trust(args, args.model))
    about = f"{checkpoint.config.model}, trained on {checkpoint.dataset.name}"
    with listen(args.host, args.port) as listener, ended_by_signals():
        guard = Guard(args.host, listener.getsockname()[0], args.allow_host)
        app = create_app(Reader(checkpoint), guard, about)
        url = url_of(listener)
        print(f"The page is at {url} (Ctrl-C ends it).", flush=True)
        if not guard.is_loopback:
            note(f"everybody who can reach {args.host} can use it")
        if args.open:
            import webbrowser

            webbrowser.open(url)
        serve(app, listener)
    return 0
