"""What a gateway does (CPE): grant a voucher, keep Options, answer SetVouchers and GetOptions."""
