import java.math.BigDecimal;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;

/**
 * What Microsoft's JDBC driver makes of the server, as text: metadata, prepared statements that are used again,
 * batches, generated keys, transactions with savepoints, errors. Compared with `driver.txt`.
 */
public final class Driver {
    private final Connection connection;

    private Driver(Connection connection) {
        this.connection = connection;
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            Driver driver = new Driver(connection);
            driver.tables();
            driver.keys();
            driver.types();
            driver.preparedStatements();
            driver.batches();
            driver.generatedKeys();
            driver.transactions();
            driver.errors();
            driver.procedures();
            driver.rows();
        }
    }

    private static void title(String text) {
        System.out.println("\n== " + text);
    }

    /** Prints the named columns of every row; all without names. */
    private static void print(ResultSet rows, String... names) throws SQLException {
        List<String> columns = new ArrayList<>(List.of(names));
        ResultSetMetaData metadata = rows.getMetaData();
        for (int at = 1; names.length == 0 && at <= metadata.getColumnCount(); at++) {
            columns.add(metadata.getColumnLabel(at));
        }
        System.out.println(String.join(" | ", columns));
        while (rows.next()) {
            List<String> values = new ArrayList<>();
            for (String column : columns) {
                values.add(String.valueOf(rows.getObject(column)).trim());
            }
            System.out.println(String.join(" | ", values));
        }
        rows.close();
    }

    private void print(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            print(statement.executeQuery(sql));
        }
    }

    private void tables() throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        title("product");
        System.out.println(metadata.getDatabaseProductName() + " " + metadata.getDatabaseMajorVersion());
        title("catalogs");
        print(metadata.getCatalogs());
        title("schemas");
        print(metadata.getSchemas(), "TABLE_SCHEM");
        title("tables");
        print(metadata.getTables("app_db", "dbo", "%", new String[] {"TABLE"}));
        title("columns");
        print(
                metadata.getColumns("app_db", "dbo", "every[_]type", "%"),
                "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE", "BUFFER_LENGTH", "DECIMAL_DIGITS",
                "NUM_PREC_RADIX", "NULLABLE", "COLUMN_DEF", "CHAR_OCTET_LENGTH", "ORDINAL_POSITION",
                "IS_AUTOINCREMENT", "IS_GENERATEDCOLUMN");
    }

    private void keys() throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        title("primary keys");
        print(metadata.getPrimaryKeys("app_db", "dbo", "orders"), "TABLE_NAME", "COLUMN_NAME", "KEY_SEQ", "PK_NAME");
        title("indexes");
        print(
                metadata.getIndexInfo("app_db", "dbo", "orders", true, true),
                "TABLE_NAME", "NON_UNIQUE", "INDEX_NAME", "TYPE", "ORDINAL_POSITION", "COLUMN_NAME");
        title("imported keys");
        print(metadata.getImportedKeys("app_db", "dbo", "orders"));
        title("best row identifier");
        print(
                metadata.getBestRowIdentifier("app_db", "dbo", "orders", DatabaseMetaData.bestRowSession, true),
                "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE");
        title("procedures");
        print(metadata.getProcedures("app_db", "dbo", "%"), "PROCEDURE_NAME");
    }

    private void types() throws SQLException {
        title("type info");
        print(
                connection.getMetaData().getTypeInfo(),
                "TYPE_NAME", "DATA_TYPE", "PRECISION", "CREATE_PARAMS", "SEARCHABLE", "AUTO_INCREMENT");
        title("result set metadata");
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT * FROM dbo.every_type WHERE 1 = 0")) {
            ResultSetMetaData metadata = rows.getMetaData();
            for (int at = 1; at <= metadata.getColumnCount(); at++) {
                System.out.printf(
                        "%s %s(%d,%d) %s%s%n",
                        metadata.getColumnName(at), metadata.getColumnTypeName(at), metadata.getPrecision(at),
                        metadata.getScale(at), metadata.isNullable(at) == 0 ? "not null" : "null",
                        metadata.isAutoIncrement(at) ? " identity" : "");
            }
        }
    }

    private void preparedStatements() throws SQLException {
        title("a prepared statement, used four times");
        String sql = "SELECT ? + 1 AS next, ? AS text, ? AS amount, ? AS moment, ? AS nothing";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int n = 1; n <= 4; n++) {
                statement.setInt(1, n);
                statement.setString(2, "ü" + n);
                statement.setBigDecimal(3, new BigDecimal("1.50").multiply(BigDecimal.valueOf(n)));
                statement.setTimestamp(4, Timestamp.valueOf(LocalDateTime.of(2024, 1, n, 12, 30, 15, 500_000_000)));
                statement.setNull(5, java.sql.Types.VARCHAR);
                print(statement.executeQuery());
            }
        }
        title("two prepared statements in turns");
        try (PreparedStatement one = connection.prepareStatement("SELECT 'one', ?");
                PreparedStatement two = connection.prepareStatement("SELECT 'two', ?")) {
            for (int n = 1; n <= 3; n++) {
                for (PreparedStatement statement : List.of(one, two)) {
                    statement.setLong(1, n);
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        System.out.println(rows.getString(1) + " " + rows.getLong(2));
                    }
                }
            }
        }
    }

    private void batches() throws SQLException {
        title("a batch of inserts");
        try (PreparedStatement statement =
                connection.prepareStatement("INSERT INTO dbo.orders (code, amount) VALUES (?, ?)")) {
            for (int n = 1; n <= 5; n++) {
                statement.setString(1, "batch " + n);
                statement.setBigDecimal(2, BigDecimal.valueOf(n, 2));
                statement.addBatch();
            }
            for (int count : statement.executeBatch()) {
                System.out.println("rows " + count);
            }
        }
        print("SELECT order_id, code, amount FROM dbo.orders ORDER BY order_id");
    }

    private void generatedKeys() throws SQLException {
        title("generated keys");
        try (PreparedStatement statement =
                connection.prepareStatement(
                        "INSERT INTO dbo.orders (code) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
            for (String code : List.of("first", "second", "third")) {
                statement.setString(1, code);
                statement.executeUpdate();
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    keys.next();
                    System.out.println(code + " " + keys.getLong(1));
                }
            }
        }
    }

    private void transactions() throws SQLException {
        title("transactions");
        connection.setAutoCommit(false);
        connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("UPDATE dbo.orders SET amount = 100 WHERE code = 'first'");
            Savepoint before = connection.setSavepoint("before");
            statement.executeUpdate("DELETE FROM dbo.orders");
            connection.rollback(before);
            Savepoint unnamed = connection.setSavepoint();
            statement.executeUpdate("UPDATE dbo.orders SET amount = 200 WHERE code = 'second'");
            connection.rollback(unnamed);
            connection.commit();
            System.out.println("committed");
            statement.executeUpdate("DELETE FROM dbo.orders WHERE code = 'third'");
            connection.rollback();
        }
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        connection.setAutoCommit(true);
        print("SELECT code, amount, @@TRANCOUNT AS open_ FROM dbo.orders WHERE code NOT LIKE 'batch%' ORDER BY order_id");
    }

    private void errors() throws SQLException {
        title("errors");
        for (String sql : List.of(
                "INSERT INTO dbo.orders (code) VALUES ('first')",
                "INSERT INTO dbo.orders (code) VALUES (NULL)",
                "SELECT * FROM dbo.nowhere",
                "SELECT nothing FROM dbo.orders",
                "SELECT 1 / 0",
                "SELEC 1",
                "EXEC dbo.nothing")) {
            try (Statement statement = connection.createStatement()) {
                boolean rows = statement.execute(sql);
                while (rows && statement.getResultSet().next()) {}
                System.out.println("no error: " + sql);
            } catch (SQLException error) {
                System.out.println(error.getErrorCode() + " " + error.getSQLState() + " " + sql);
            }
        }
        print("SELECT 'still connected' AS state");
    }

    private void procedures() throws SQLException {
        title("a procedure, called");
        try (CallableStatement call = connection.prepareCall("{call sp_pkeys(?, ?)}")) {
            call.setString(1, "orders");
            call.setString(2, "dbo");
            print(call.executeQuery(), "COLUMN_NAME", "KEY_SEQ");
        }
    }

    private void rows() throws SQLException {
        title("a hundred thousand rows, read in steps");
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("SELECT value FROM GENERATE_SERIES(1, 100000)")) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
            }
            System.out.println(sum);
        }
        title("the first row of many, then another query");
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT value FROM GENERATE_SERIES(1, 100000) ORDER BY value")) {
            rows.next();
            System.out.println("first " + rows.getInt(1));
        }
        print("SELECT 'next' AS query");
    }
}
