-- The database that `Driver.java` looks at.
CREATE TABLE dbo.orders (
    order_id INT IDENTITY(1, 1) CONSTRAINT pk_orders PRIMARY KEY,
    code     NVARCHAR(20) NOT NULL CONSTRAINT uq_orders_code UNIQUE,
    amount   DECIMAL(18, 2) NULL DEFAULT 0
);
CREATE TABLE dbo.every_type (
    id BIGINT IDENTITY NOT NULL, bit_ BIT NULL, tiny TINYINT NULL, small SMALLINT NULL, big BIGINT NULL,
    real_ REAL NULL, float_ FLOAT NULL, decimal_ DECIMAL(9, 3) NOT NULL, money_ MONEY NULL,
    small_money SMALLMONEY NULL, date_ DATE NULL, time_ TIME(3) NULL, small_datetime SMALLDATETIME NULL,
    datetime_ DATETIME NULL DEFAULT GETDATE(), datetime2_ DATETIME2(7) NULL, offset_ DATETIMEOFFSET(0) NULL,
    char_ CHAR(5) NULL, varchar_ VARCHAR(20) NULL DEFAULT 'x', varchar_max VARCHAR(MAX) NULL, nchar_ NCHAR(5) NULL,
    nvarchar_ NVARCHAR(20) NULL, nvarchar_max NVARCHAR(MAX) NULL, binary_ BINARY(4) NULL,
    varbinary_ VARBINARY(8) NULL, varbinary_max VARBINARY(MAX) NULL, guid UNIQUEIDENTIFIER NULL
);
