-- Which categories have the most reviews?
SELECT
    product_category,
    count(*) AS reviews,
    1e0 * count(*) / sum(count(*)) OVER () AS share,
    count(DISTINCT product_id) AS products,
    count(DISTINCT customer_id) AS customers
FROM reviews
GROUP BY product_category
ORDER BY reviews DESC, product_category
