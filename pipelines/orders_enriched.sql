-- The orders of one region, computed and with something of their customers; an order that is deleted stays, and says so.
-- The region is a parameter: cdcql run pipelines/orders_enriched.sql --set region=EU

CREATE CONNECTION shop TYPE sqlserver OPTIONS (url env('SHOP_URL', 'embedded:shop.sql'));

CREATE STREAMING TABLE shop_customers LOCATION 'lake/shop_customers'
FLOW AUTO CDC FROM STREAM shop.dbo.customers CHANGES;

-- It runs after the flow of the table that it looks up, and never ahead of it.
CREATE STREAMING TABLE orders_enriched LOCATION 'lake/orders_enriched'
FLOW AUTO CDC FROM (
  SELECT o.order_id, c.name AS customer, c.tier, upper(trim(o.country)) AS country,
         round(o.net * (1 + o.vat), 2) AS gross, o._change_type = 'delete' AS is_deleted
  FROM STREAM shop.dbo.orders CHANGES AS o
  LEFT JOIN shop_customers AS c ON c.customer_id = o.customer_id
  WHERE o.region = :region)
KEYS (order_id) APPLY AS DELETE WHEN false;
