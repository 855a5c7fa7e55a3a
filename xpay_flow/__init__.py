"""Take payments through xPay Checkout without losing, doubling or misreporting one."""
