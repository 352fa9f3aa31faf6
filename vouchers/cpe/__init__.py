"""The side of the gateway (CPE): grant a voucher, store Options, answer SetVouchers and GetOptions."""
