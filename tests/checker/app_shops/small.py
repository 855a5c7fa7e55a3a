"""Shops of a few lines over sqlite3: each function is one handler, and the last one is right."""

import contextlib
import sqlite3
import urllib.request

from .xpay import asgi, connect, wsgi

PAID, FAILED, REFUNDED = "intent.success", "intent.failed", "intent.refunded"


def order_of(db, event):
    query = "SELECT id, status, amount, currency FROM orders WHERE receipt_id = ?"
    return db.execute(query, (event["receiptId"],)).fetchone()


def is_right_money(order, event):
    return (event["amount"], event["currency"]) == order[2:]


def pay(db, order):
    db.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (order[0],))
    db.execute("INSERT INTO shipments (order_id) VALUES (?)", (order[0],))


def dedupe_row_in_its_own_transaction(event):
    db = connect()
    try:
        with db:
            db.execute("INSERT INTO seen VALUES (?)", (event["eventId"],))
    except sqlite3.IntegrityError:
        return 200
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event):
        with db:
            pay(db, order)
    return 200


def check_then_act(event):
    db = connect()
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
        with db:
            pay(db, order)
    return 200


def two_commits(event):
    db = sqlite3.connect("shop.db", isolation_level=None)
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
        pay(db, order)
    return 200


def late_failure_wins(event):
    db = connect()
    with db:
        db.execute("BEGIN IMMEDIATE")
        order = order_of(db, event)
        if order is None:
            return 404
        if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
            pay(db, order)
        elif event["eventType"] == FAILED:
            db.execute("UPDATE orders SET status = 'failed' WHERE id = ?", (order[0],))
    return 200


def amount_not_compared(event):
    return right(event, money=lambda order, event: event["currency"] == order[3])


def currency_not_compared(event):
    return right(event, money=lambda order, event: event["amount"] == order[2])


def type_not_looked_at(event):
    return right({**event, "eventType": PAID})


def unknown_order_acknowledged(event):
    return right(event, unknown=200)


def any_pending_order(event):
    """Where the receipt is not known, the only pending order must be meant."""
    with connect() as db:
        row = db.execute("SELECT receipt_id FROM orders WHERE status = 'pending'").fetchone()
    known = order_of(connect(), event)
    return right(event if known or row is None else {**event, "receiptId": row[0]})


def exception_swallowed(event):
    """Where another delivery holds the lock, the statement fails, and xPay sees nothing of it."""
    db = connect()
    try:
        with db:
            db.execute("BEGIN")
            order = order_of(db, event)
            if order is None:
                return 404
            db.execute("INSERT INTO seen VALUES (?)", (event["eventId"],))
            if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
                pay(db, order)
    except sqlite3.Error:
        pass
    return 200


def duplicate_refused(event):
    """A duplicate is a conflict, is it not?"""
    db = connect()
    with db:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT 1 FROM seen WHERE event_id = ?", (event["eventId"],)).fetchone():
            return 409
        db.execute("INSERT INTO seen VALUES (?)", (event["eventId"],))
        order = order_of(db, event)
        if order is None:
            raise LookupError("no such order")
        if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
            pay(db, order)
    return 200


def refund_ignored(event):
    return right(event)


def shipped(order, key=""):
    """Calls the warehouse."""
    request = urllib.request.Request(f"https://warehouse.example/ship/{order[0]}", method="POST")
    if key:
        request.add_header("Idempotency-Key", key)
    urllib.request.urlopen(request, timeout=5).read()


def fulfil_then_save(event):
    db = connect()
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
        shipped(order)
        with db:
            db.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (order[0],))
    return 200


def save_then_fulfil(event):
    status = claim(event)
    if status is None:
        shipped(order_of(connect(), event))
    return status or 200


def failed_call_swallowed(event):
    status = claim(event)
    if status is None:
        with contextlib.suppress(OSError):
            shipped(order_of(connect(), event))
    return status or 200


def claim(event):
    """None if the order became paid just now; else the answer."""
    db = connect()
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] != PAID or not is_right_money(order, event):
        return 200
    with db:
        changed = db.execute(
            "UPDATE orders SET status = 'paid' WHERE id = ? AND status <> 'paid'", (order[0],)
        )
    return None if changed.rowcount else 200


def workers_without_a_claim(event):
    """After each webhook, whatever is paid and not yet shipped is shipped."""
    claim(event)
    db = connect()
    if order_of(db, event) is None:
        return 404
    query = (
        "SELECT id FROM orders WHERE status = 'paid' AND id NOT IN (SELECT order_id FROM shipments)"
    )
    for (number,) in db.execute(query).fetchall():
        with db:
            db.execute("INSERT INTO shipments (order_id) VALUES (?)", (number,))
    return 200


SEEN = set()


def remembered_in_memory(event):
    if event["eventId"] in SEEN:
        return 200
    db = connect()
    with db:
        order = order_of(db, event)
        if order is None:
            return 404
        if event["eventType"] == PAID and is_right_money(order, event):
            pay(db, order)
    SEEN.add(event["eventId"])
    return 200


def undone_after_a_lost_commit(event):
    """A commit that fails has done nothing, has it?"""
    db = connect()
    try:
        return right_claim(event)
    except sqlite3.Error:
        with db:
            db.execute("UPDATE orders SET status = 'trouble' WHERE receipt_id = 'order-42'")
        return 200


def call_tried_twice(event):
    status = claim(event)
    if status is None:
        order = order_of(connect(), event)
        try:
            shipped(order)
        except OSError:
            shipped(order)
    return status or 200


def given_up_too_late(event):
    """What takes too long is given up, although another delivery has done it meanwhile."""
    db = connect()
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
        state, answer = "paid", 200
        try:
            shipped(order, "once")
        except TimeoutError:
            state, answer = "given up", 500
        with db:
            db.execute("UPDATE orders SET status = ? WHERE id = ?", (state, order[0]))
        return answer
    return 200


PAID_RECEIPTS = set()


def remembered_by_receipt(event):
    if event["receiptId"] in PAID_RECEIPTS:
        return 200
    status = right_claim(event)
    if event["eventType"] == PAID and status == 200:
        PAID_RECEIPTS.add(event["receiptId"])
        with connect() as db:
            db.execute("INSERT INTO shipments (order_id) VALUES (1)")
    return status


def right(event, money=is_right_money, unknown=404):
    """One transaction that has its lock before it reads."""
    db = connect()
    with db:
        db.execute("BEGIN IMMEDIATE")
        order = order_of(db, event)
        if order is None:
            return unknown
        if event["eventType"] == PAID and money(order, event) and order[1] != "paid":
            pay(db, order)
    return 200


def right_claim(event):
    """The order is claimed by the statement that changes it, together with its shipment."""
    db = connect()
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event):
        with db:
            claimed = db.execute(
                "UPDATE orders SET status = 'paid' WHERE id = ? AND status <> 'paid'", (order[0],)
            )
            if claimed.rowcount:
                db.execute("INSERT INTO shipments (order_id) VALUES (?)", (order[0],))
    return 200


def right_dedupe(event):
    """The row that knows the event is of the transaction that does the work."""
    db = connect()
    with db:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT 1 FROM seen WHERE event_id = ?", (event["eventId"],)).fetchone():
            return 200
        order = order_of(db, event)
        if order is None:
            return 404
        db.execute("INSERT INTO seen VALUES (?)", (event["eventId"],))
        if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
            pay(db, order)
    return 200


def right_unique(event):
    """The database refuses a second shipment of an order."""
    db = connect()
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event):
        with contextlib.suppress(sqlite3.IntegrityError), db:
            db.execute("INSERT INTO shipments (id, order_id) VALUES (?, ?)", (order[0], order[0]))
            db.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (order[0],))
    return 200


def right_key(event):
    """The warehouse is called again until it is known to have answered, always under one key."""
    db = connect()
    order = order_of(db, event)
    if order is None:
        return 404
    if event["eventType"] == PAID and is_right_money(order, event) and order[1] != "paid":
        key = {"Idempotency-Key": f"ship-{order[0]}"}
        url = f"https://warehouse.example/ship/{order[0]}"
        urllib.request.urlopen(urllib.request.Request(url, method="POST", headers=key), timeout=5)
        with db:
            db.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (order[0],))
    return 200


def right_refund(event):
    """Money that goes back is written down."""
    if event["eventType"] != REFUNDED:
        return right(event)
    db = connect()
    with db:
        db.execute(
            "UPDATE orders SET status = 'refunded' WHERE receipt_id = ?", (event["receiptId"],)
        )
    return 200


async def return_page_writes(scope, receive, send):
    """The page to which customers return believes its own address."""
    if scope["type"] == "http" and scope["path"] == "/thanks":
        if b"status=SUCCESS" in scope["query_string"]:
            with connect() as db:
                db.execute("UPDATE orders SET status = 'paid' WHERE receipt_id = 'order-42'")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"Thank you"})
    else:
        await asgi(right)(scope, receive, send)


asgi_signature_not_checked = asgi(right, trusts=lambda body, signature: True)

HANDLERS = {name: found for name, found in globals().items() if callable(found)}


def __getattr__(name):
    """`small:asgi_right` is the handler `right` as an ASGI app."""
    kind, _, handler = name.partition("_")
    if kind not in ("asgi", "wsgi") or handler not in HANDLERS:
        raise AttributeError(name)
    return (asgi if kind == "asgi" else wsgi)(HANDLERS[handler])
