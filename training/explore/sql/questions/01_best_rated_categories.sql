-- Which categories are rated best? The margin is that of a 95 % interval about the average.
SELECT
    product_category,
    count(*) AS reviews,
    avg(star_rating) AS average_stars,
    1.96e0 * stddev(star_rating) / sqrt(count(*)) AS margin
FROM reviews
GROUP BY product_category
ORDER BY average_stars DESC, product_category
