"""Process entry of the model server: look-up tables, admission and HTTP put together."""

import signal
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from controller.accordion.admission import LinkEstimate, lookup
from controller.accordion.lookup import read_table, table_path
from stage_node.delivery import Admission, ModelRequest, NotAdmittedError
from stage_node.events import EventLog, Listening
from stage_node.model_server import create_app, read_catalog, serve, warm_up

BACKLOG = 128


def main(
    name: str,
    ip: str,
    port: int,
    models_dir: str,
    estimates: Mapping[str, Mapping[str, float]],
    events_path: str,
) -> None:
    """Serve every checkpoint of ``models_dir`` until SIGTERM; admit where there is a table.

    ``estimates`` is what is believed of each UE's link before anything was measured, by the
    UE's address: ``{"10.0.0.1": {"rate_mbit": 12, "rtt_ms": 70}}``, from its link profile.
    ``Listening`` is emitted once the server has answered requests of its own: the first ones
    would pay for memory that a forked process touches for the first time.
    """
    folder = Path(models_dir)
    catalog = read_catalog(folder)
    files = {model: folder / f"{model}.safetensors" for model in catalog}
    tables = {model: read_table(file) for model, file in files.items() if table_path(file).exists()}
    links = {ue: LinkEstimate(**estimate) for ue, estimate in estimates.items()}

    def admit(request: ModelRequest, ue: str) -> Admission:
        if ue not in links:
            raise NotAdmittedError(403, f"nothing is known of the link to {ue}")
        if request.model not in tables:
            raise NotAdmittedError(409, f"{request.model} has no look-up table; ask for its bytes")
        return lookup(request, tables[request.model], links[ue])

    # Being told to stop is a clean end; uvicorn repeats the signal after its own shutdown.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with (
        EventLog(Path(events_path), name) as events,
        socket.create_server((ip, port), backlog=BACKLOG) as listener,
    ):
        app = create_app(catalog, admit, events)

        def announce() -> None:
            port = listener.getsockname()[1]
            for model in catalog:
                warm_up(ip, port, model)
            events.emit(Listening, address=ip, port=port)

        threading.Thread(target=announce, daemon=True).start()
        serve(app, listener)
