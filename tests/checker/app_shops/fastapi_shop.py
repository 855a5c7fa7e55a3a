"""A shop on FastAPI and SQLAlchemy's ORM, as its tutorial begins one."""

# ruff: noqa: B008

import json

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request
from sqlalchemy import ForeignKey, UniqueConstraint, create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from .xpay import authentic

engine = create_engine("sqlite:///fastapi-shop.db")
SessionLocal = sessionmaker(engine)


class Base(DeclarativeBase): ...


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    receipt_id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default="pending")
    amount: Mapped[int]
    currency: Mapped[str]


class Shipment(Base):
    __tablename__ = "shipments"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


class Ticket(Base):
    """At most one for each order: the database sees to it."""

    __tablename__ = "tickets"
    __table_args__ = (UniqueConstraint("order_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


def reset() -> None:
    Base.metadata.create_all(engine)
    with SessionLocal.begin() as db:
        db.add(Order(receipt_id="order-42", amount=1999, currency="USD"))


def session():
    with SessionLocal() as db:
        yield db


async def event(request: Request, xpay_signature: str = Header("")) -> dict:
    body = await request.body()
    if not authentic(body, xpay_signature):
        raise HTTPException(401)
    return json.loads(body)


def order_of(db: Session, event: dict) -> Order:
    order = db.scalar(select(Order).where(Order.receipt_id == event["receiptId"]))
    if order is None:
        raise HTTPException(404)
    return order


def is_payment(order: Order, event: dict) -> bool:
    right = (event["amount"], event["currency"]) == (order.amount, order.currency)
    return event["eventType"] == "intent.success" and right


def lost_update() -> FastAPI:
    """Reads, and writes what it has read a moment later."""
    app = FastAPI()

    @app.post("/webhooks/xpay")
    def webhook(event: dict = Depends(event), db: Session = Depends(session)):
        order = order_of(db, event)
        db.commit()
        if is_payment(order, event) and order.status != "paid":
            db.commit()
            db.add(Shipment(order_id=order.id))
            order.status = "paid"
            db.commit()

    return app


def answer_before_work() -> FastAPI:
    """The work is done once xPay has its answer."""
    app = FastAPI()

    def ship(receipt_id: str) -> None:
        with SessionLocal.begin() as db:
            order = order_of(db, {"receiptId": receipt_id})
            db.add(Ticket(order_id=order.id))

    @app.post("/webhooks/xpay")
    def webhook(
        background: BackgroundTasks, event: dict = Depends(event), db: Session = Depends(session)
    ):
        if is_payment(order_of(db, event), event):
            background.add_task(ship, event["receiptId"])

    return app


def right() -> FastAPI:
    app = FastAPI()

    @app.post("/webhooks/xpay")
    def webhook(event: dict = Depends(event), db: Session = Depends(session)):
        order = order_of(db, event)
        if is_payment(order, event) and order.status != "paid":
            order.status = "paid"
            db.add(Ticket(order_id=order.id))
            try:
                db.commit()
            except IntegrityError:
                db.rollback()

    return app


app_lost_update = lost_update()
app_answer_before_work = answer_before_work()
app_right = right()
