-- Whether the platform's tenants are here (One Vault, or what an earlier deployment made in their place).
SELECT to_regclass('auth.tenant_h') IS NOT NULL AS present;
